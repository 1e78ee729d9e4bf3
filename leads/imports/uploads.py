"""A bound on what a browser may send: Django itself takes files of any size."""

from __future__ import annotations

from django.conf import settings
from django.core.files.uploadhandler import FileUploadHandler, StopUpload


class LimitedUpload(FileUploadHandler):
    """Stops reading an upload that is larger than ``settings.UPLOAD_MB``, and notes that it did.

    The rest is read and forgotten, so that the browser gets an answer and no broken connection.
    """

    def new_file(self, *args: object, **kwargs: object) -> None:
        """Begin to count."""
        super().new_file(*args, **kwargs)  # type: ignore[arg-type]
        self._read = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        """Hand on what came.

        Raises:
            StopUpload: it is too much by now.
        """
        self._read += len(raw_data)
        if self._read > settings.UPLOAD_MB * 1_000_000:
            if self.request is not None:
                self.request.META["fairlead.too_large"] = True
            raise StopUpload(connection_reset=False)
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Leave the file to the next handler."""


def was_too_large(meta: dict[str, object]) -> bool:
    """Tell of a request's ``META`` whether its upload was stopped."""
    return bool(meta.get("fairlead.too_large"))
