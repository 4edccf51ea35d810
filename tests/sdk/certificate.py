"""Requests a token with a certificate as Azure's SDK for Python does: certificate.py [chain]. Everything comes from the
environment. Prints `accepted` or `refused` and the error."""

import os
import sys

from azure.identity import CertificateCredential

try:
    credential = CertificateCredential(
        os.environ["AZURE_TENANT_ID"],
        os.environ["AZURE_CLIENT_ID"],
        os.environ["AZURE_CLIENT_CERTIFICATE_PATH"],
        send_certificate_chain=sys.argv[1:] == ["chain"],
        disable_instance_discovery=True,
    )
    credential.get_token("https://redis.azure.com/.default")
    print("accepted")
except Exception as error:
    print("refused", repr(error).replace("\n", " "))
