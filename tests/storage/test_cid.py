"""CIDs, against those that an IPFS node gave the same bytes."""

from __future__ import annotations

import hashlib

import pytest

from ml.storage.cid import LEAF_BYTES, MAX_LINKS, Cid, Codec, Tree, multihash_v0
from ml.storage.errors import InvalidCid
from ml.storage.naming import name

# What js-ipfs calls so many bytes of SHAKE128("modelproof"), added with cid-version=1, raw-leaves.
BY_A_NODE = {
    0: "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
    1: "bafkreiakiozc3cp2esm34xdxate36jzsmcymvfmi4tgrrf6nqd44s3gzpi",
    LEAF_BYTES - 1: "bafkreigw2cax6svbnzx3uumdxhuo3mizmng44ig5tzmoi2n4luk6anjpn4",
    LEAF_BYTES: "bafkreih7kntqwftedxvjnblccsn3lxogoh7755uvaa657siiubjm2aijle",
    LEAF_BYTES + 1: "bafybeids5c6viziabiskqxnc5pryxfhyddkp7pfsnc6lgrugeex5gw5cnu",
    4 * LEAF_BYTES + 96: "bafybeig6i7lz5wj4f6xxiphxnaimyxgx5ha2vjaixarn2a6ld7srnpqtmy",
    MAX_LINKS * LEAF_BYTES: "bafybeiha55u7xgflxhra3iooy3owgu2z5ne2erptowz3pkcf5xfccc56oi",
    MAX_LINKS * LEAF_BYTES + 1: "bafybeigrq32gtkzrbavhhacubodcminjlzbuzypexlgzp3hhxzb4lj5toi",
}
# The same bytes up to seven before the end of so many leaves, added with chunker=size-16.
BY_A_NODE_IN_SHORT_LEAVES = {
    MAX_LINKS**2 + 1: "bafybeie4fa5cno2oon3kqgddditodm55mezj4xq7cwuinvmkj6rjl6kroe",
    MAX_LINKS**2 + MAX_LINKS + 3: "bafybeifjs7zx6qohxixnsl3xmyvs2gy54nkx7avud425zy5xjy5b76qplu",
}
SHORT_LEAF_BYTES = 16
RAW, DAG_PB = BY_A_NODE[LEAF_BYTES], BY_A_NODE[LEAF_BYTES + 1]


@pytest.fixture(scope="module")
def noise() -> bytes:
    return hashlib.shake_128(b"modelproof").digest(max(BY_A_NODE))


@pytest.mark.parametrize("size", BY_A_NODE)
def test_bytes_have_the_cid_that_a_node_gives_them(size: int, noise: bytes) -> None:
    stored = name([memoryview(noise)[:size]])
    assert str(stored.cid) == BY_A_NODE[size]
    assert stored.sha256 == hashlib.sha256(noise[:size]).digest()
    assert stored.size == size


@pytest.mark.parametrize("count", BY_A_NODE_IN_SHORT_LEAVES)
def test_deep_tree_has_the_root_that_a_node_gives_it(count: int, noise: bytes) -> None:
    data = noise[: count * SHORT_LEAF_BYTES - 7]
    tree = Tree()
    for start in range(0, len(data), SHORT_LEAF_BYTES):
        leaf = data[start : start + SHORT_LEAF_BYTES]
        tree.add_leaf(hashlib.sha256(leaf).digest(), len(leaf))
    assert str(tree.root().cid) == BY_A_NODE_IN_SHORT_LEAVES[count]


@pytest.mark.parametrize("cid", [RAW, DAG_PB])
def test_cid_is_read_as_it_is_written(cid: str) -> None:
    assert str(Cid.parse(cid)) == cid


def test_cid_says_which_kind_of_block_it_names() -> None:
    assert Cid.parse(RAW).codec is Codec.RAW
    assert Cid.parse(DAG_PB).codec is Codec.DAG_PB


def test_cid_of_one_leaf_has_the_digest_of_its_bytes(noise: bytes) -> None:
    assert Cid.parse(RAW).digest == hashlib.sha256(noise[:LEAF_BYTES]).digest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "../../etc/passwd",
        "QmaozNR7DZHQK1ZcU9p7QdrshMvXqWK6gpu5rmrkPdT3L4",
        RAW.upper(),
        RAW[:-1],
        RAW + "a",
        RAW + "\n",
        "z" + RAW[1:],
        RAW[:-1] + "f",  # bits that no byte has
        RAW[:30] + "1" + RAW[31:],  # a digit that base32 lacks
        RAW.replace("bafkrei", "bafyrei"),  # another codec
        RAW.replace("bafkrei", "bafkrgi"),  # another hash
        RAW.replace("bafkrei", "bajkrei"),  # another version
        "b" + "ä" * 58,
    ],
)
def test_other_texts_are_no_cids_here(text: str) -> None:
    with pytest.raises(InvalidCid, match="is not the CID of an object here"):
        Cid.parse(text)


def test_small_file_has_the_multihash_of_a_cid_of_version_0() -> None:
    # QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o, in base58
    hashed = "122046d44814b9c5af141c3aaab7c05dc5e844ead5f91f12858b021eba45768b4c0e"
    assert multihash_v0(b"hello world\n").hex() == hashed


@pytest.mark.parametrize("size", [0, LEAF_BYTES + 1])
def test_bytes_that_are_not_one_leaf_have_none(size: int, noise: bytes) -> None:
    with pytest.raises(InvalidCid, match=f"{size} bytes are not one leaf"):
        multihash_v0(noise[:size])
