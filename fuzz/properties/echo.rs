//! Echoed secrets: `{secret}` in an input is replaced by the secret.

/// The number of consecutive characters of a secret that must not be shown.
const REVEALING: usize = 16;

/// Returns `text` with the secret in place of `{secret}`.
pub(crate) fn with_secret(text: &str, secret: &str) -> String {
    text.replace("{secret}", secret)
}

/// Panics if `shown` contains `secret` or [`REVEALING`] consecutive characters of it, ignoring white space.
pub(crate) fn is_without(shown: &str, secret: &str) {
    let solid = |text: &str| -> Vec<char> {
        text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect()
    };
    let secret = solid(secret);
    let pieces = REVEALING.min(secret.len());
    // A placeholder, complete or cut at the end, may happen to look like a piece of the secret.
    let cut = shown.strip_suffix('…').and_then(|shown| shown.rsplit_once('<'));
    let rest = cut.filter(|(_, end)| "redacted>".starts_with(end)).map_or(shown, |(rest, _)| rest);
    for part in rest.split("<redacted>").map(solid).filter(|_| pieces > 0) {
        let revealed = part.windows(pieces).find(|piece| secret.windows(pieces).any(|of| of == *piece));
        assert_eq!(revealed, None, "a piece of the secret in: {shown}");
    }
}
