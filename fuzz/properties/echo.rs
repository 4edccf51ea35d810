//! What others echo of a secret: an input holds the secret, and stands for it where it says `{secret}`.

/// How much of a secret may be shown: one character less.
const BETRAYS: usize = 8;

/// `said` with the secret in its places.
pub(crate) fn with_secret(said: &str, secret: &str) -> String {
    said.replace("{secret}", secret)
}

/// Panics if `shown` holds `secret`, or eight characters of it in succession, however they are spaced.
pub(crate) fn is_without(shown: &str, secret: &str) {
    let solid = |text: &str| -> Vec<char> {
        text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect()
    };
    let secret = solid(secret);
    let pieces = BETRAYS.min(secret.len());
    // What stands in a secret's place, whole or cut at the end, may happen to look like a piece of it.
    let cut = shown.strip_suffix('…').and_then(|shown| shown.rsplit_once('<'));
    let rest = cut.filter(|(_, end)| "redacted>".starts_with(end)).map_or(shown, |(rest, _)| rest);
    for part in rest.split("<redacted>").map(solid).filter(|_| pieces > 0) {
        let betrayed = part.windows(pieces).find(|piece| secret.windows(pieces).any(|of| of == *piece));
        assert_eq!(betrayed, None, "a piece of the secret in: {shown}");
    }
}
