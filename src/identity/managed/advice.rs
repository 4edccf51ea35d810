//! What to do if a host refuses a token.

use super::super::ManagedIdentityId;
use super::super::variables::Variables;
use super::Wanted;

const NO_SYSTEM_IDENTITY: &str = "This host has no system-assigned identity. Assign one, or name an identity that is assigned: set \
     `identity.client_id`, or AZURE_CLIENT_ID with the type `auto`.";

const NO_SYSTEM_IDENTITY_UNUSED: &str = "This host has no system-assigned identity. AZURE_CLIENT_ID is set, but the type `managed_identity` does not use it: \
     set `identity.client_id` to the same id, or use the type `auto`.";

const UNUSED: &str = "AZURE_CLIENT_ID is set, but the type `managed_identity` does not use it and asks for the system-assigned identity. To \
     use the identity of that variable, set `identity.client_id` to the same id, or use the type `auto`.";

const WRONG_HINT: &str = "The identity that AZURE_CLIENT_ID names is not assigned to this host. Assign it, correct or remove the variable, or \
     set `identity.client_id`.";

pub(super) const OTHER_THAN_HINT: &str = "AZURE_CLIENT_ID names an identity that this host did not answer with. Assign it to the host, correct or remove the \
     variable, or set `identity.client_id`.";

pub(super) const OTHER_THAN_DEFAULT: &str = "DEFAULT_IDENTITY_CLIENT_ID, which Azure Machine Learning sets, names the identity that was asked for. Check the identity \
     of the compute, or set `identity.client_id`.";

/// Returns what to do about a refusal, where more is known than that there is no token.
pub(super) fn advice(
    wanted: &Wanted<'_>,
    variables: &Variables,
    status: u16,
    explanation: &str,
) -> Option<&'static str> {
    let is_unknown = is_unknown_identity(status, explanation);
    match (wanted.id, is_unknown, variables.has("AZURE_CLIENT_ID")) {
        (ManagedIdentityId::System, true, true) => Some(NO_SYSTEM_IDENTITY_UNUSED),
        (ManagedIdentityId::System, true, false) => Some(NO_SYSTEM_IDENTITY),
        (ManagedIdentityId::System, false, true) => Some(UNUSED),
        _ if wanted.is_hint && is_unknown => Some(WRONG_HINT),
        _ => None,
    }
}

/// Whether an endpoint says that the identity is not assigned: `Identity not found` of IMDS, and similar words of the
/// others.
fn is_unknown_identity(status: u16, explanation: &str) -> bool {
    status == 400 && explanation.to_ascii_lowercase().contains("identity")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_the_variable_if_it_is_unused_or_wrong_or_could_help() {
        let (set, unset) = (Variables::of([("AZURE_CLIENT_ID", "c")]), Variables::of([]));
        let by_id = ManagedIdentityId::ClientId("c".into());
        let wanted = |id, is_hint| Wanted { id, is_hint, scope: "s" };
        let system = wanted(&ManagedIdentityId::System, false);
        let not_found = (400, "Identity not found");
        let failed = (500, "oops");
        for (wanted, variables, (status, explanation), expected) in [
            (system, &set, not_found, Some(NO_SYSTEM_IDENTITY_UNUSED)),
            (system, &unset, not_found, Some(NO_SYSTEM_IDENTITY)),
            (system, &set, failed, Some(UNUSED)),
            (system, &unset, failed, None),
            (system, &unset, (400, "AADSTS500011: no such resource"), None),
            (wanted(&by_id, true), &set, not_found, Some(WRONG_HINT)),
            (wanted(&by_id, true), &set, failed, None),
            (wanted(&by_id, false), &set, not_found, None),
        ] {
            assert_eq!(advice(&wanted, variables, status, explanation), expected, "{wanted:?} {explanation}");
        }
    }
}
