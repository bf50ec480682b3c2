"""Values as contracts encode them: the ABI's decoder, for bytes that nobody vouches for.

A string of the ABI is bytes that ought to be UTF-8; no contract checks it, so anybody can put any
bytes on record. They are shown here as Python shows odd file names (PEP 383): a byte that is no
UTF-8 becomes a lone surrogate, and comes back from it, so that what was hashed on chain can be
hashed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from eth_abi import decoding
from eth_abi.codec import ABIDecoder
from eth_abi.registry import registry
from eth_utils.address import to_checksum_address

if TYPE_CHECKING:
    from ethpm_types.abi import ABIType

_ODD_BYTES: Final = "surrogateescape"
_KNOWN_ADDRESSES: Final = 4_096
"""Whose checksums, a hash each, are not computed again: the same few act again and again."""


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Decode values: addresses with their checksums, and strings whatever bytes they hold.

    Args:
        types: the values' types, as the ABI has them
        data: the encoded values

    Raises:
        eth_abi.exceptions.DecodingError: these are no values of these types.
    """
    return _DECODER.decode(types, data)


def named(components: Sequence[ABIType], fields: Sequence[Any]) -> SimpleNamespace:
    """A struct's fields by their names, and those of structs in it.

    Args:
        components: the struct's, as its ABI has them
        fields: their values, as `decode` gives them
    """
    return SimpleNamespace(
        **{
            str(one.name): named(one.components or (), value) if one.type == "tuple" else value
            for one, value in zip(components, fields, strict=True)
        }
    )


def text_bytes(text: str) -> bytes:
    """The bytes of a text; of one that was decoded here, the very bytes that it was decoded from.

    Raises:
        UnicodeEncodeError: a character has no bytes in UTF-8.
    """
    return text.encode("utf-8", _ODD_BYTES)


class _AddressDecoder(decoding.AddressDecoder):
    decoder_fn = staticmethod(lru_cache(_KNOWN_ADDRESSES)(to_checksum_address))


def _make_decoder() -> ABIDecoder:
    types = registry.copy()  # type: ignore[no-untyped-call]
    decoders = {
        "string": decoding.StringDecoder(_ODD_BYTES),  # type: ignore[no-untyped-call]
        "address": _AddressDecoder(),  # type: ignore[no-untyped-call]
    }
    for name, decoder in decoders.items():
        types.unregister_decoder(name)
        types.register_decoder(name, decoder, label=name)
    return ABIDecoder(types)


_DECODER: Final = _make_decoder()
