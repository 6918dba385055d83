"""Why a request is refused, in the form of OpenAI's API: ``{"error": {message, type, ...}}``."""

from __future__ import annotations

from typing import Any

from lmsuite.errors import LmError

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
}


class RefusedError(Exception):
    """A request that is not answered."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        """A refusal.

        Args:
            status: of HTTP, from 400 to 499.
            message: what was given, and what to do.
            param: the field of the request that is at fault.
            code: the reason, for programs.
        """
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def as_json(self) -> dict[str, Any]:
        """The body of the answer."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def refusal_of(error: LmError, names: dict[str, str] | None = None) -> RefusedError:
    """The refusal of what the library refuses.

    Args:
        error: the library's.
        names: how the API calls a setting, where the library calls it otherwise.
    """

    def spelled(field: str) -> str:
        return (names or {}).get(field, field)

    return RefusedError(400, error.spelled(spelled), param=spelled(error.field) or None)
