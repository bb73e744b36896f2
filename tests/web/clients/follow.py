"""Follows a feed with httpx-sse, and prints each message as a line of JSON: event, id, data.

It reconnects as the documentation of httpx-sse says: with the last id, after `retry`.
"""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse

last, retry = "", 1.0
with httpx.Client(timeout=httpx.Timeout(10, read=60)) as client:
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        try:
            with connect_sse(client, "GET", sys.argv[1], headers=headers) as source:
                source.response.raise_for_status()
                for message in source.iter_sse():
                    last = message.id or last
                    if message.retry is not None:
                        retry = message.retry / 1000
                    # A block without data is no message; httpx-sse gives it all the same.
                    if message.data:
                        print(json.dumps([message.event, message.id, message.data]), flush=True)
        except (httpx.TransportError, httpx.HTTPStatusError):
            pass  # Cut off, or nobody there.
        time.sleep(retry)
