// Reads trees from standard input as JSON, each a list of [name, dtype, shape, digest] with the
// shape's numbers as text, and writes each tree's root and its proofs in the order of the rows.
const { readFileSync } = require("node:fs");
const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");

const LEAF = ["string", "string", "uint256[]", "bytes32"];

const results = JSON.parse(readFileSync(0, "utf8")).map((rows) => {
  const values = rows.map(([name, dtype, shape, digest]) => [name, dtype, shape.map(BigInt), digest]);
  const tree = StandardMerkleTree.of(values, LEAF);
  return { root: tree.root, proofs: values.map((_, index) => tree.getProof(index)) };
});
process.stdout.write(JSON.stringify(results));
