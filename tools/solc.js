#!/usr/bin/env node
// Lets the npm `solc` (WebAssembly) serve where a native compiler is expected: it answers the calls
// that py-solc-x (under ape-solidity) and forge make, `--version` and `--standard-json`.
"use strict";

const fs = require("fs");
const path = require("path");

const ROOT = path.dirname(__dirname);
const LIBRARIES = path.join(ROOT, "node_modules") + path.sep;

function compiler() {
  try {
    return require("solc");
  } catch (error) {
    if (error.code !== "MODULE_NOT_FOUND") throw error;
    throw new Error("the npm package solc is not installed: run `make setup`");
  }
}

// Ape compiles in a copy of the project that leaves node_modules out, so what is imported from there
// is read here. Its name, which the bytecode's metadata hash covers, is the same in either place.
function readImport(sourceUnitName) {
  const file = path.join(ROOT, sourceUnitName);
  if (!file.startsWith(LIBRARIES)) return { error: "it is neither in the input nor in node_modules" };
  try {
    return { contents: fs.readFileSync(file, "utf8") };
  } catch (error) {
    return { error: error.message };
  }
}

async function main(options) {
  if (options.includes("--version")) {
    // The native compiler's last word is its platform, which py-solc-x wants to see.
    const version = compiler().version().replace("Emscripten.clang", "Linux.g++");
    return `solc, the solidity compiler commandline interface\nVersion: ${version}\n`;
  }
  if (options.includes("--standard-json")) {
    const chunks = [];
    for await (const chunk of process.stdin) chunks.push(chunk);
    const input = Buffer.concat(chunks).toString("utf8");
    return compiler().compile(input, { import: readImport });
  }
  throw new Error("this stand-in answers --version and --standard-json only");
}

main(process.argv.slice(2)).then(
  (output) => process.stdout.write(output),
  (error) => {
    console.error(`solc: ${error.message}`);
    process.exitCode = 1;
  },
);
