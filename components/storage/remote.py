"""Files behind http(s) and in S3, by httpx and boto3; transient failures are tried again.

fsspec and s3fs, which come with dvc, would lose behaviour. fsspec's http reader neither retries a body that breaks off
(its pull request 2124) nor reads from servers without ranges (its issue 1626), and its `ukey` stays the same when a
page changes. s3fs raises OSError without the codes of S3 that our messages name, such as ExpiredToken.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ..errors import MissingError, SourceError, one_line
from .atomic import replacing
from .source import Names, checked_name

ATTEMPTS = 5
"""Attempts at a request before a transient failure is reported."""
BACKOFF_S = 0.5
"""Seconds before the second attempt; doubled before each further one, and up to as much added at random."""

_CHUNK = 1 << 20
_PARTIAL, _BEYOND_THE_END = 206, 416  # of HTTP's answers to a request for a range

T = TypeVar("T")


class Http:
    """Files under a web address; proxies come from the usual environment variables."""

    def __init__(self, base: str) -> None:
        import httpx

        self._base = base.rstrip("/") + "/"
        self._client = httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(60, connect=15),
            headers={"accept-encoding": "identity", "user-agent": "ratewright"},
        )

    def list(self) -> Names:
        """Always raises SourceError: the web has no reliable listing of a directory."""
        raise SourceError(f"{self._base}: cannot be listed; give a manifest or an explicit list of files")

    def download(self, name: str, path: Path) -> None:
        """Stream the file to `path`; an interrupted download starts again."""
        url = self._url(name)
        with replacing(path) as temporary:
            _retrying(lambda: self._stream(url, temporary))

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """A byte range of the file; a server without ranges sends the file up to the end of the range."""
        url = self._url(name)
        return _retrying(lambda: self._range(url, offset, size))

    def fingerprint(self, name: str) -> str:
        """The ETag, or else the date and length, of the answer to a HEAD request."""
        url = self._url(name)
        headers: dict[str, str] = _retrying(lambda: self._head(url))
        known = [headers[key] for key in ("last-modified", "content-length") if key in headers]
        return headers.get("etag") or "-".join(known)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _url(self, name: str) -> str:
        return self._base + quote(checked_name(name))

    def _stream(self, url: str, path: Path) -> None:
        # A body shorter than its Content-Length is a RemoteProtocolError, hence tried again.
        with self._errors(url), self._client.stream("GET", url) as response:
            _check_status(url, response.status_code, response.reason_phrase)
            with path.open("wb") as file:
                for chunk in response.iter_bytes(_CHUNK):
                    file.write(chunk)

    def _range(self, url: str, offset: int, size: int | None) -> bytes:
        data = bytearray()
        headers = {"range": _range_header(offset, size)}
        with self._errors(url), self._client.stream("GET", url, headers=headers) as response:
            if response.status_code == _BEYOND_THE_END:
                return b""
            _check_status(url, response.status_code, response.reason_phrase)
            before = 0 if response.status_code == _PARTIAL else offset
            for chunk in response.iter_bytes():
                data += chunk[before:]
                before = max(0, before - len(chunk))
                # An answer of just the range is read to its end, which keeps the connection.
                if size is not None and len(data) > size:
                    break
        return bytes(data[:size])

    def _head(self, url: str) -> dict[str, str]:
        with self._errors(url):
            response = self._client.head(url)
            _check_status(url, response.status_code, response.reason_phrase)
            return {key.lower(): value for key, value in response.headers.items()}

    @contextmanager
    def _errors(self, url: str) -> Iterator[None]:
        """Raise the errors of httpx as _TransientError or SourceError, in one line."""
        import httpx

        try:
            yield
        except httpx.TransportError as error:
            raise _TransientError(f"{url}: {one_line(error)}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceError(f"{url}: {one_line(error)}") from error


class Addresses(Http):
    """Files that have an http(s) address each.

    Args:
        urls: address of each file, by name.
    """

    def __init__(self, urls: Mapping[str, str]) -> None:
        super().__init__("")
        self._urls = urls

    def list(self) -> Names:
        """All names, sorted."""
        return sorted(self._urls)

    def _url(self, name: str) -> str:
        if name not in self._urls:
            raise MissingError(f"{name}: has no address")
        return self._urls[name]


class S3:
    """Objects under a prefix; endpoint, profile and credentials come from the usual AWS places."""

    def __init__(self, location: str) -> None:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        self._bucket, _, prefix = location.partition("://")[2].partition("/")
        self._prefix = prefix.rstrip("/") + "/" if prefix.rstrip("/") else ""
        if not self._bucket:
            raise SourceError(f"{location}: names no bucket")
        # Our own retries cover the body too, which botocore's do not.
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=15, read_timeout=60, max_pool_connections=32)
        try:
            self._client: Any = boto3.session.Session().client("s3", config=config)
        except (BotoCoreError, ValueError) as error:
            raise SourceError(f"{location}: {one_line(error)}") from error

    def list(self) -> Names:
        """All names, sorted."""
        return _retrying(self._list)

    def download(self, name: str, path: Path) -> None:
        """Stream the object to `path`; an interrupted download starts again."""
        key = self._prefix + checked_name(name)
        with replacing(path) as temporary:
            _retrying(lambda: self._stream(key, temporary))

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """A byte range of the object."""
        key = self._prefix + checked_name(name)
        return _retrying(lambda: self._range(key, offset, size))

    def upload(self, path: Path, name: str) -> None:
        """Store the file at `path` as the object `name`, atomically."""
        key = self._prefix + checked_name(name)
        _retrying(lambda: self._put(path, key))

    def exists(self, name: str) -> bool:
        """Whether there is such an object."""
        try:
            self.fingerprint(name)
        except MissingError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Delete the object, if there is one."""
        key = self._prefix + checked_name(name)
        _retrying(lambda: self._delete(key))

    def fingerprint(self, name: str) -> str:
        """The object's ETag."""
        key = self._prefix + checked_name(name)
        return _retrying(lambda: self._head(key))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _list(self) -> Names:
        names: Names = []
        with self._errors(self._prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                names += [item["Key"].removeprefix(self._prefix) for item in page.get("Contents", [])]
        # A key that ends in / is a folder drawn by some console.
        return sorted(name for name in names if name and not name.endswith("/"))

    def _stream(self, key: str, path: Path) -> None:
        with self._errors(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            with closing(answer["Body"]) as body, path.open("wb") as file:
                for chunk in body.iter_chunks(_CHUNK):
                    file.write(chunk)

    def _range(self, key: str, offset: int, size: int | None) -> bytes:
        from botocore.exceptions import ClientError

        with self._errors(key):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key, Range=_range_header(offset, size))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == _BEYOND_THE_END:
                    return b""
                raise
            with closing(answer["Body"]) as body:
                return bytes(body.read())

    def _put(self, path: Path, key: str) -> None:
        from boto3.exceptions import S3UploadFailedError

        with self._errors(key):
            try:
                self._client.upload_file(str(path), self._bucket, key)
            except S3UploadFailedError as error:  # boto3 wraps the error of botocore
                raise error.__context__ or error from None

    def _delete(self, key: str) -> None:
        with self._errors(key):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def _head(self, key: str) -> str:
        with self._errors(key):
            return str(self._client.head_object(Bucket=self._bucket, Key=key)["ETag"]).strip('"')

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Raise the errors of botocore as _TransientError, MissingError or SourceError, in one line."""
        from botocore import exceptions as aws

        where = f"s3://{self._bucket}/{key}"
        try:
            yield
        except aws.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if code == "NoSuchBucket":
                raise SourceError(f"s3://{self._bucket}: no such bucket") from error
            if code in ("SlowDown", "RequestTimeout", "Throttling"):
                raise _TransientError(f"{where}: {code}") from error
            _check_status(where, status, code if not code.isdigit() else "")
            raise SourceError(f"{where}: {one_line(error)}") from error
        except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
            hint = "set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials"
            raise SourceError(f"{where}: no complete AWS credentials ({hint})") from error
        except (aws.HTTPClientError, aws.ConnectionError, aws.IncompleteReadError) as error:
            raise _TransientError(f"{where}: {one_line(error)}") from error
        except aws.BotoCoreError as error:
            raise SourceError(f"{where}: {one_line(error)}") from error


class _TransientError(Exception):
    """A failure that another attempt may not meet."""


def _retrying(attempt: Callable[[], T]) -> T:
    """The result of `attempt`, which is called anew while it raises _TransientError, ATTEMPTS times at the most."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

    attempts = Retrying(
        retry=retry_if_exception_type(_TransientError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(multiplier=BACKOFF_S, max=30, jitter=BACKOFF_S),
        reraise=True,
    )
    try:
        return attempts(attempt)
    except _TransientError as error:
        raise SourceError(f"{error} (tried {ATTEMPTS} times)") from error


def _check_status(where: str, status: int, reason: str) -> None:
    """Raise an error for an HTTP status from 400 on."""
    message = f"{where}: {status} {reason}".rstrip()
    if status in (408, 429) or status >= 500:
        raise _TransientError(message)
    if status >= 400:
        raise (MissingError if status == 404 else SourceError)(message)


def _range_header(offset: int, size: int | None) -> str:
    return f"bytes={offset}-{'' if size is None else offset + size - 1}"
