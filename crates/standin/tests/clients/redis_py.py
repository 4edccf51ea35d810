"""What an application does first with redis-py: redis_py.py HOST PORT CA_FILE USER PROTOCOL, with REDIS_PASSWORD."""

import os
import sys

import redis

host, port, ca_file, user, protocol = sys.argv[1:]
client = redis.Redis(
    host=host,
    port=int(port),
    ssl=True,
    ssl_ca_certs=ca_file,
    username=user,
    password=os.environ["REDIS_PASSWORD"],
    protocol=int(protocol),
    client_name="orders",
    decode_responses=True,
)
assert client.ping()
client.delete("n")
assert client.set("n", 1, ex=60, nx=True) is True
assert client.set("n", 1, nx=True) is None
assert client.incr("n") == 2
assert client.get("n") == "2" and client.get("nothing") is None
assert 0 < client.ttl("n") <= 60 and 0 < client.pttl("n") <= 60_000
assert client.exists("n") == 1 and client.type("n") == "string"
assert client.expire("n", 30)
assert client.client_getname() == "orders"
assert client.client_info()["lib-name"].startswith("redis-py")
assert client.client_info()["resp"] == protocol
assert client.info()["redis_mode"] == "standalone"
assert any(entry["name"] == "orders" for entry in client.client_list())
with client.pipeline(transaction=True) as pipeline:
    assert pipeline.incr("n").get("n").execute() == [3, "3"]
try:
    client.set("n", "x" * 1024 * 1024)
except redis.ResponseError as error:
    assert "exceeds maximum allowed size" in str(error), error
else:
    raise AssertionError("a value of a megabyte was accepted")
assert client.ping() and client.dbsize() >= 1
