"""Exchanges a service account token as Azure's SDK for Python does: workload_identity.py [proxy]. Everything comes from the
environment of the pod. Prints `accepted` or `refused` and the error."""

import sys

from azure.identity import WorkloadIdentityCredential

options = {"enable_azure_proxy": True} if sys.argv[1:] == ["proxy"] else {}
try:
    credential = WorkloadIdentityCredential(disable_instance_discovery=True, **options)
    credential.get_token("https://redis.azure.com/.default")
    print("accepted")
except Exception as error:
    print("refused", repr(error).replace("\n", " "))
