// The Hardhat node of `make conformance`. Its accounts are those of every development node: the
// mnemonic of eleven "test" and one "junk" is Hardhat's own default.
"use strict";

module.exports = {
  solidity: "0.8.28", // it has to be named, and nothing is compiled here
  networks: {
    hardhat: { chainId: 1337, hardfork: "shanghai", loggingEnabled: false },
  },
};
