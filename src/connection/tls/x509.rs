//! Parses certificates with `x509_parser`, whoever shows them. What is trusted is decided elsewhere.
//!
//! The parser's default is to parse the content of all extensions, of which few are wanted, and to know the names of all object
//! identifiers. In the binary, that takes more room than the rest of it.

use x509_parser::asn1_rs::{FromDer, Oid};
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::error::X509Error;
use x509_parser::extensions::{BasicConstraints, ExtendedKeyUsage, GeneralName, SubjectAlternativeName};
use x509_parser::nom::Parser as _;
use x509_parser::oid_registry::{
    MS_JURISDICTION_COUNTRY, MS_JURISDICTION_LOCALITY, MS_JURISDICTION_STATE_OR_PROVINCE,
    OID_PKCS9_UNSTRUCTURED_NAME, OID_USERID, OID_X509_BUSINESS_CATEGORY, OID_X509_DESCRIPTION,
    OID_X509_DN_QUALIFIER, OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_SUBJECT_ALT_NAME, OID_X509_GENERATION_QUALIFIER, OID_X509_GIVEN_NAME, OID_X509_INITIALS,
    OID_X509_NAME, OID_X509_POSTAL_CODE, OID_X509_SERIALNUMBER, OID_X509_STREET_ADDRESS, OID_X509_SURNAME,
    OID_X509_TITLE, OID_X509_UNIQUE_IDENTIFIER, OidEntry, OidRegistry,
};
use x509_parser::x509::X509Name;

/// The attributes in names of people and companies. The parser knows those with short names, such as `CN`, itself.
const ATTRIBUTES: [(Oid<'static>, &str); 18] = [
    (MS_JURISDICTION_COUNTRY, "msJurisdictionCountry"),
    (MS_JURISDICTION_LOCALITY, "msJurisdictionLocality"),
    (MS_JURISDICTION_STATE_OR_PROVINCE, "msJurisdictionStateOrProvince"),
    (OID_PKCS9_UNSTRUCTURED_NAME, "unstructuredName"),
    (OID_USERID, "uid"),
    (OID_X509_BUSINESS_CATEGORY, "businessCategory"),
    (OID_X509_DESCRIPTION, "description"),
    (OID_X509_DN_QUALIFIER, "dnQualifier"),
    (OID_X509_GENERATION_QUALIFIER, "generationQualifier"),
    (OID_X509_GIVEN_NAME, "givenName"),
    (OID_X509_INITIALS, "initials"),
    (OID_X509_NAME, "name"),
    (OID_X509_POSTAL_CODE, "postalCode"),
    (OID_X509_SERIALNUMBER, "serialNumber"),
    (OID_X509_STREET_ADDRESS, "streetAddress"),
    (OID_X509_SURNAME, "surname"),
    (OID_X509_TITLE, "title"),
    (OID_X509_UNIQUE_IDENTIFIER, "uniqueIdentifier"),
];

/// An extension that is not correctly encoded, or there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidExtension;

/// Parses a certificate, but not the content of its extensions. `None` if `der` is none.
pub(crate) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    parser.parse(der).ok().map(|(_, certificate)| certificate)
}

/// Returns the subject alternative names; `None` if there is no such extension.
pub(crate) fn alternative_names<'a>(
    certificate: &X509Certificate<'a>,
) -> Result<Option<Vec<GeneralName<'a>>>, InvalidExtension> {
    let names = extension::<SubjectAlternativeName<'a>>(certificate, &OID_X509_EXT_SUBJECT_ALT_NAME)?;
    Ok(names.map(|names| names.general_names))
}

/// Returns what the certificate may be used for; `None` if it does not say.
pub(crate) fn purposes<'a>(
    certificate: &X509Certificate<'a>,
) -> Result<Option<ExtendedKeyUsage<'a>>, InvalidExtension> {
    extension(certificate, &OID_X509_EXT_EXTENDED_KEY_USAGE)
}

/// Whether the certificate is that of an authority.
pub(crate) fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    let constraints = extension::<BasicConstraints>(certificate, &OID_X509_EXT_BASIC_CONSTRAINTS);
    constraints.is_ok_and(|constraints| constraints.is_some_and(|constraints| constraints.ca))
}

fn extension<'a, T: FromDer<'a, X509Error>>(
    certificate: &X509Certificate<'a>,
    id: &Oid<'_>,
) -> Result<Option<T>, InvalidExtension> {
    let extension = certificate.get_extension_unique(id).map_err(|_| InvalidExtension)?;
    let parsed = extension.map(|extension| T::from_der(extension.value)).transpose();
    parsed.map(|parsed| parsed.map(|(_, content)| content)).map_err(|_| InvalidExtension)
}

/// Returns a name in one line, such as `C=US, O=Example, CN=cache.example`.
pub(crate) fn name(name: &X509Name<'_>) -> String {
    let mut registry = OidRegistry::default();
    for (id, name) in ATTRIBUTES {
        registry.insert(id, OidEntry::new(name, ""));
    }
    name.to_string_with_registry(&registry).unwrap_or_else(|_| "an invalid name".to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, KeyPair};

    use super::*;

    /// The object identifiers of extensions.
    const SUBJECT_ALTERNATIVE_NAME: [u64; 4] = [2, 5, 29, 17];
    const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];

    /// Returns a certificate for `hosts`, in DER.
    fn der(hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn each_attribute_of_a_name_has_a_word() {
        let der = der(&[], |params| {
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CountryName, "US");
            params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), "42");
            params.distinguished_name.push(DnType::CommonName, "cache.test");
        });
        assert_eq!(name(parse(&der).unwrap().subject()), "C=US, serialNumber=42, CN=cache.test");
    }

    #[test]
    fn only_an_authority_is_one() {
        for (is_ca, expected) in [
            (IsCa::NoCa, false),
            (IsCa::ExplicitNoCa, false),
            (IsCa::Ca(rcgen::BasicConstraints::Unconstrained), true),
        ] {
            let der = der(&[], |params| params.is_ca = is_ca);
            assert_eq!(is_authority(&parse(&der).unwrap()), expected);
        }
    }

    #[test]
    fn an_extension_that_is_damaged_or_there_twice_is_an_error() {
        let names = |hosts: &[&str], extensions: &[&[u8]]| {
            let der = der(hosts, |params| {
                params.custom_extensions = extensions
                    .iter()
                    .map(|content| {
                        CustomExtension::from_oid_content(&SUBJECT_ALTERNATIVE_NAME, content.to_vec())
                    })
                    .collect();
            });
            alternative_names(&parse(&der).unwrap()).map(|names| names.map(|names| names.len()))
        };
        assert_eq!(names(&[], &[]), Ok(None));
        assert_eq!(names(&["a.test", "b.test"], &[]), Ok(Some(2)));
        let of_a = b"\x30\x03\x82\x01a".as_slice();
        assert_eq!(names(&[], &[of_a]), Ok(Some(1)));
        assert_eq!(names(&[], &[of_a, of_a]), Err(InvalidExtension));
        assert_eq!(names(&[], &[b"\xff"]), Err(InvalidExtension));
    }

    #[test]
    fn purposes_that_cannot_be_read_are_an_error() {
        let with = |content: &[u8]| {
            der(&[], |params| {
                let usage = CustomExtension::from_oid_content(&EXTENDED_KEY_USAGE, content.to_vec());
                params.custom_extensions = vec![usage];
            })
        };
        let client = with(b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02");
        let usage = purposes(&parse(&client).unwrap()).unwrap().unwrap();
        assert!(usage.client_auth && !usage.any && !usage.server_auth);
        assert!(matches!(purposes(&parse(&with(b"\xff")).unwrap()), Err(InvalidExtension)));
        assert!(matches!(purposes(&parse(&der(&[], |_| {})).unwrap()), Ok(None)));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_none() {
        assert!(parse(b"\x30\x82").is_none());
    }
}
