"""What an application does first with redis-py and a cluster: redis_py_cluster.py HOST PORT CA_FILE USER PROTOCOL, with
REDIS_PASSWORD."""

import os
import sys

import redis

host, port, ca_file, user, protocol = sys.argv[1:]
client = redis.RedisCluster(
    host=host,
    port=int(port),
    ssl=True,
    ssl_ca_certs=ca_file,
    # The nodes announce addresses, and the certificate has the host's name alone.
    ssl_check_hostname=False,
    username=user,
    password=os.environ["REDIS_PASSWORD"],
    protocol=int(protocol),
    decode_responses=True,
)
assert len(client.get_primaries()) == 3 and len(client.get_replicas()) == 3
for number in range(100):
    assert client.set(f"k{number}", number, ex=60)
for number in range(100):
    assert client.get(f"k{number}") == str(number)
assert client.dbsize(target_nodes=redis.RedisCluster.PRIMARIES) == 100
assert sum(client.ping(target_nodes=node) for node in client.get_nodes()) == 6
