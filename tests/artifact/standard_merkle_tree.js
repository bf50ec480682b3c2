// Reads trees from standard input as JSON, each a list of [name, dtype, shape, digest] with the
// shape's numbers as text, and writes each tree's root, its proofs in the order of the rows, and the
// multiproof of every third row.
const { readFileSync } = require("node:fs");
const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");

const LEAF = ["string", "string", "uint256[]", "bytes32"];

const results = JSON.parse(readFileSync(0, "utf8")).map((rows) => {
  const values = rows.map(([name, dtype, shape, digest]) => [name, dtype, shape.map(BigInt), digest]);
  const tree = StandardMerkleTree.of(values, LEAF);
  const third = values.map((_, index) => index).filter((index) => index % 3 == 0);
  const { leaves, proof, proofFlags } = tree.getMultiProof(third);
  return {
    root: tree.root,
    proofs: values.map((_, index) => tree.getProof(index)),
    multiproof: { names: leaves.map(([name]) => name), proof, proofFlags },
  };
});
process.stdout.write(JSON.stringify(results));
