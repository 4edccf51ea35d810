#!/bin/sh
# Creates a managed identity with the rights of the agent on one cache and no other rights. For Kubernetes, the identity
# also trusts the agent's service account. Can be run repeatedly, also for a second cluster, account or identity: what it
# has created for the first stays. Needs the Azure CLI, signed in with the rights to create identities and policies.
set -eu

usage() {
    cat >&2 <<'TEXT'
usage: least-rights.sh --group GROUP --cache NAME [--managed] [--replicas] [--identity NAME]
                       [--issuer URL [--account NAMESPACE:NAME]]
  --group     resource group of the cache, and of the identity
  --cache     the cache's name
  --managed   for Azure Managed Redis; otherwise Azure Cache for Redis
  --replicas  also for READONLY, which the agent needs with `cluster.mode: all`
  --identity  the managed identity's name [cachepulse]
  --issuer    OIDC issuer of the Kubernetes cluster: az aks show --query oidcIssuerProfile.issuerUrl
  --account   the agent's service account in that cluster [monitoring:cachepulse]
TEXT
    exit 64
}

group= cache= managed= replicas= issuer= identity=cachepulse account=monitoring:cachepulse
while [ $# -gt 0 ]; do
    case $1 in
        --managed) managed=yes; shift; continue ;;
        --replicas) replicas=yes; shift; continue ;;
        --group | --cache | --identity | --issuer | --account) [ $# -ge 2 ] || usage ;;
        *) usage ;;
    esac
    case $1 in
        --group) group=$2 ;;
        --cache) cache=$2 ;;
        --identity) identity=$2 ;;
        --issuer) issuer=$2 ;;
        --account) account=$2 ;;
    esac
    shift 2
done
[ -n "$group" ] && [ -n "$cache" ] || usage

az identity create --resource-group "$group" --name "$identity" --output none
object_id=$(az identity show --resource-group "$group" --name "$identity" --query principalId --output tsv)
client_id=$(az identity show --resource-group "$group" --name "$identity" --query clientId --output tsv)

# PING, SET, GET and CLIENT LIST, on the agent's own keys, and CLUSTER SLOTS to find the shards. No built-in policy fits:
# Data Contributor forbids CLIENT LIST, Data Reader forbids SET, and Data Owner allows everything. ASKING would only help
# while the slot of a key that cannot change is migrated: see docs/identity.md.
commands="+ping +set +get +client|list +cluster|slots"
[ -z "$replicas" ] || commands="$commands +readonly"
keys="~cachepulse:*"
# One per identity. Azure Managed Redis allows letters and digits only, at most 60.
assignment=$(printf %s "$identity" | tr -cd '[:alnum:]' | cut -c 1-60)
if [ -n "$managed" ]; then
    # Custom rights are a preview feature here. They need version 1.5 or later of the extension redisenterprise.
    az redisenterprise database access-policy-assignment create --resource-group "$group" --cluster-name "$cache" \
        --database-name default --access-policy-assignment-name "$assignment" --access-policy-name default \
        --object-id "$object_id" --access-string "$commands $keys" --output none
else
    # SUBSCRIBE is for notices of planned maintenance.
    az redis access-policy create --resource-group "$group" --name "$cache" --access-policy-name "$assignment" \
        --permissions "$commands +subscribe $keys" --output none
    az redis access-policy-assignment create --resource-group "$group" --name "$cache" \
        --policy-assignment-name "$assignment" --access-policy-name "$assignment" \
        --object-id "$object_id" --object-id-alias "$identity" --output none
fi

if [ -n "$issuer" ]; then
    subject="system:serviceaccount:$account"
    # Azure refuses a second credential with the same issuer and subject.
    trusted=$(az identity federated-credential list --resource-group "$group" --identity-name "$identity" \
        --query "[?issuer=='$issuer' && subject=='$subject'].name" --output tsv)
    if [ -z "$trusted" ]; then
        # A name that exists would be replaced. Azure allows 3 to 120 letters, digits, - and _.
        readable=$(printf %s "$account" | tr -c '[:alnum:]_' - | cut -c 1-90)
        checksum=$(printf '%s %s' "$issuer" "$subject" | cksum | cut -d ' ' -f 1)
        az identity federated-credential create --resource-group "$group" --identity-name "$identity" \
            --name "cachepulse-$readable-$checksum" --issuer "$issuer" --subject "$subject" \
            --audiences api://AzureADTokenExchange --output none
    fi
fi

echo "client id: $client_id"
echo "object id, which is the Redis user: $object_id"
