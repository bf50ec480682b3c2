"""OpenSSF Model Signing: bundles that its library verifies, and those that it made.

A bundle says by whose key the files of a model were signed. It knows files, not tensors: a model
that is saved again in another format has the same identity, and no longer the same signature.
Source: ``model_signing`` 1.1.1, https://github.com/sigstore/model-transparency.
"""

from __future__ import annotations

from .resources import Serialization
from .signed_model import Verdict, sign_model, verify_model

__all__ = ["Serialization", "Verdict", "sign_model", "verify_model"]
