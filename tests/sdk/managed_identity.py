"""Requests tokens as Azure's SDK for Python does: managed_identity.py COUNT [CLIENT_ID]. The host comes from the
environment. Prints one line per request: `accepted SECONDS`, how long the token is valid, or `refused` and the error."""

import sys
import time

from azure.identity import ManagedIdentityCredential

count, ids = int(sys.argv[1]), sys.argv[2:]
for _ in range(count):
    # A new credential has an empty cache. Without retries, each request gets the response that the test has for it.
    credential = ManagedIdentityCredential(client_id=ids[0] if ids else None, retry_total=0)
    try:
        token = credential.get_token("https://redis.azure.com/.default")
        print("accepted", token.expires_on - int(time.time()), flush=True)
    except Exception as error:  # Some errors of the SDK are those of the language.
        print("refused", repr(error).replace("\n", " "), flush=True)
