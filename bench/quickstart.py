"""Azure's quickstart for Python in a loop: `quickstart.py HOST PORT CA_FILE USER INTERVAL COUNT`.

Runs PING, SET, GET and CLIENT LIST with redis-py on one warm connection, signed in with a token of azure-identity. Prints
the CPU seconds of one probe and every PING in seconds as JSON. Start-up time is excluded.
"""

import json
import sys
import time

import redis
from azure.identity import ManagedIdentityCredential

host, port, ca_file, user, interval, count = sys.argv[1:]
token = ManagedIdentityCredential().get_token("https://redis.azure.com/.default")
cache = redis.Redis(
    host=host,
    port=int(port),
    ssl=True,
    ssl_ca_certs=ca_file,
    username=user,
    password=token.token,
    decode_responses=True,
)


def probe():
    started = time.perf_counter()
    cache.ping()
    took = time.perf_counter() - started
    cache.set("cachepulse:quickstart", "the cache is working with Python")
    cache.get("cachepulse:quickstart")
    cache.client_list()
    return took


probe()
cpu = time.process_time()
pings = []
for _ in range(int(count)):
    time.sleep(float(interval))
    pings.append(probe())
json.dump({"cpu": (time.process_time() - cpu) / len(pings), "pings": pings}, sys.stdout)
