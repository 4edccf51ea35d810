"""App Service's identity endpoint with one token for requests with the right header: `identity.py PORT`.

The header is in BENCH_HEADER and the token in BENCH_TOKEN. It is a separate process, so that a token request
does not wait for the harness.
"""

import http.server
import json
import os
import sys
import time


class Endpoint(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        good = self.headers.get("X-IDENTITY-HEADER") == os.environ["BENCH_HEADER"]
        answer = {
            "access_token": os.environ["BENCH_TOKEN"],
            "expires_on": str(int(time.time()) + 24 * 3600),
            "resource": "https://redis.azure.com",
            "token_type": "Bearer",
        }
        body = json.dumps(answer if good else {"error": "wrong X-IDENTITY-HEADER"}).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Endpoint).serve_forever()
