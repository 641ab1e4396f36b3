"""What tests of the application and of its SQL share."""

from tests.store.conftest import tx

__all__ = ["tx"]
