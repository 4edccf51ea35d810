//! `AZURE_TOKEN_CREDENTIALS`: which sources `auto` may choose, in the words of Azure's SDKs. Case does not matter.

use std::fmt;

use super::super::variables::Variables;

/// The variable.
pub(crate) const VARIABLE: &str = "AZURE_TOKEN_CREDENTIALS";

/// A kind of source, as the SDKs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// The variables of a service principal.
    Environment,
    WorkloadIdentity,
    ManagedIdentity,
    AzureCli,
    AzureDeveloperCli,
}

impl Credential {
    const ALL: [Self; 5] = [
        Self::Environment,
        Self::WorkloadIdentity,
        Self::ManagedIdentity,
        Self::AzureCli,
        Self::AzureDeveloperCli,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Environment => "EnvironmentCredential",
            Self::WorkloadIdentity => "WorkloadIdentityCredential",
            Self::ManagedIdentity => "ManagedIdentityCredential",
            Self::AzureCli => "AzureCliCredential",
            Self::AzureDeveloperCli => "AzureDeveloperCliCredential",
        }
    }

    const fn is_of_developer(self) -> bool {
        matches!(self, Self::AzureCli | Self::AzureDeveloperCli)
    }
}

/// What the variable allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restriction {
    /// It is not set: everything.
    Nothing,
    /// `dev`: the tools of developers.
    Developer,
    /// `prod`: everything else.
    Production,
    /// The name of a credential: this one.
    Only(Credential),
}

/// The variable has a value that is not known, or names a credential that the agent does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownCredential {
    value: String,
}

impl fmt::Display for UnknownCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Credential::ALL.map(Credential::name);
        let [others @ .., last] = &names;
        write!(f, "expected dev, prod, {} or {last}, found {:?}", others.join(", "), self.value)
    }
}

impl std::error::Error for UnknownCredential {}

impl Restriction {
    /// Reads the variable.
    ///
    /// # Errors
    /// [`UnknownCredential`] lists the values that it may have.
    pub(crate) fn named_by(variables: &Variables) -> Result<Self, UnknownCredential> {
        let Some(value) = variables.get(VARIABLE) else { return Ok(Self::Nothing) };
        let word = value.trim();
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        if word.is_empty() {
            Ok(Self::Nothing)
        } else if is("dev") {
            Ok(Self::Developer)
        } else if is("prod") {
            Ok(Self::Production)
        } else {
            let named = Credential::ALL.into_iter().find(|credential| is(credential.name()));
            named.map(Self::Only).ok_or_else(|| UnknownCredential { value: word.chars().take(100).collect() })
        }
    }

    pub(super) fn allows(self, credential: Credential) -> bool {
        match self {
            Self::Nothing => true,
            Self::Developer => credential.is_of_developer(),
            Self::Production => !credential.is_of_developer(),
            Self::Only(only) => credential == only,
        }
    }

    /// Returns what is chosen if nothing that is allowed is found, because its error explains what to set up.
    pub(super) const fn fallback(self) -> Credential {
        match self {
            Self::Nothing | Self::Production => Credential::ManagedIdentity,
            Self::Developer => Credential::AzureCli,
            Self::Only(only) => only,
        }
    }

    /// Returns why the fallback was chosen.
    pub(super) fn without_sign(self) -> String {
        match self {
            Self::Only(_) => self.to_string(),
            _ => "nothing else was found".to_owned(),
        }
    }
}

impl fmt::Display for Restriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match self {
            Self::Nothing => return f.write_str("nothing"),
            Self::Developer => "dev",
            Self::Production => "prod",
            Self::Only(only) => only.name(),
        };
        write!(f, "{VARIABLE}={value}")
    }
}
