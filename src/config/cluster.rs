//! The key `cluster`, and what the keys about clusters, roles and maintenance mean for each other.

use super::field::{Field, Fields, Invalid};
use super::keys::Key;
use super::keys::cluster::{
    CLUSTER, CLUSTER_ADDRESS, CLUSTER_MAX_NODES, CLUSTER_MODE, CLUSTER_REFRESH, EXPECT_ROLE, MAINTENANCE,
};
use super::keys::connection::PROTOCOL;
use super::keys::probe::{KEY, KEYS};
use super::keys::sentinel::SENTINEL;
use crate::target::{Cluster, ClusterMode, ExpectRole, Maintenance, Protocol, Target};

/// Returns the default of every key.
pub(super) fn default() -> Cluster {
    Cluster {
        mode: CLUSTER_MODE.default(),
        max_nodes: CLUSTER_MAX_NODES.default(),
        refresh: CLUSTER_REFRESH.default(),
        address: CLUSTER_ADDRESS.default(),
    }
}

/// Reads the mapping.
pub(super) fn read(field: &Field<'_>) -> Result<Cluster, Invalid> {
    let fields = field.fields(&CLUSTER.about)?;
    let mode = fields.choice(&CLUSTER_MODE).transpose();
    let max_nodes = fields.read(&CLUSTER_MAX_NODES).transpose();
    let refresh = fields.read(&CLUSTER_REFRESH).transpose();
    let address = fields.choice(&CLUSTER_ADDRESS).transpose();
    if let Ok(Some(ClusterMode::Off)) = mode {
        let others = CLUSTER.about.keys.iter().map(|key| key.about().name());
        let others = others.filter(|name| *name != CLUSTER_MODE.about.name());
        for other in others.filter_map(|name| fields.named(name)) {
            other.warning("not used, since the mode is off");
        }
    }
    let default = default();
    Ok(Cluster {
        mode: mode?.unwrap_or(default.mode),
        max_nodes: max_nodes?.unwrap_or(default.max_nodes),
        refresh: refresh?.unwrap_or(default.refresh),
        address: address?.unwrap_or(default.address),
    })
}

/// Checks the settings of `target` that concern each other, which were read from its `own` keys and from `defaults`.
pub(super) fn check(target: &Target, own: &Fields<'_>, defaults: Option<&Fields<'_>>) -> Result<(), Invalid> {
    let place = Place { own, defaults };
    let is_cluster = matches!(target.cluster.mode, ClusterMode::Primaries | ClusterMode::All);
    let mode = CLUSTER_MODE.name_of(&target.cluster.mode);
    let has_several_keys = target.keys.get() > 1;
    let mut result = Ok(());

    if target.key.has_hash_tag() && (target.cluster.mode != ClusterMode::Off || has_several_keys) {
        let keys =
            if has_several_keys { format!("{} and ", place.setting(&KEYS, "1")) } else { String::new() };
        let off = place.setting(&CLUSTER_MODE, "off");
        result = place.problem(
            &KEY,
            format!(
                "the hash tag in braces fixes the slot, so that no other slot can be probed; remove the braces, or set \
                 {keys}{off}"
            ),
        );
    }
    if target.expect_role == ExpectRole::Replica && is_cluster {
        let (mode, off) = (place.setting(&CLUSTER_MODE, mode), place.setting(&CLUSTER_MODE, "off"));
        let message = format!("contradicts {mode}; set {off} to probe a single replica");
        result = result.and(place.problem(&EXPECT_ROLE, message));
    }
    if let Some(sentinel) = own.get(&SENTINEL).filter(|_| is_cluster)
        && (own.get(&CLUSTER).is_some() || own.is_of_flags())
    {
        let mode = place.setting(&CLUSTER_MODE, mode);
        let message = format!("the sentinels name one primary, which contradicts {mode}; leave that out");
        result = result.and(Err(sentinel.problem(message)));
    }
    if target.maintenance == Maintenance::On && target.protocol == Some(Protocol::Resp2) {
        let (resp2, auto) = (place.setting(&PROTOCOL, "resp2"), place.setting(&PROTOCOL, "auto"));
        let message = format!("notices need RESP3, and the target has {resp2}; set {auto}");
        result = result.and(place.problem(&MAINTENANCE, message));
    }
    if has_several_keys && is_cluster {
        place.warning(
            &KEYS,
            format!(
                "not used, since {mode} gives each shard a key",
                mode = place.setting(&CLUSTER_MODE, mode)
            ),
        );
    } else if has_several_keys && target.expect_role == ExpectRole::Replica {
        place.warning(&KEYS, format!("not used, since {}", place.setting(&EXPECT_ROLE, "replica")));
    }
    result
}

/// Where the keys of a target are given.
struct Place<'p, 'a> {
    own: &'p Fields<'a>,
    defaults: Option<&'p Fields<'a>>,
}

impl<'a> Place<'_, 'a> {
    /// Returns the key as given, in the target or else in the defaults.
    fn find<T>(&self, key: &Key<T>) -> Option<Field<'a>> {
        self.own.get(key).or_else(|| self.defaults?.get(key))
    }

    /// Notes a problem with `key`, which has another value than its default.
    fn problem<T>(&self, key: &Key<T>, message: String) -> Result<(), Invalid> {
        self.find(key).map_or(Ok(()), |field| Err(field.problem(message)))
    }

    fn warning<T>(&self, key: &Key<T>, message: String) {
        if let Some(field) = self.find(key) {
            field.warning(message);
        }
    }

    /// Returns how the operator gives `key` this value.
    fn setting<T>(&self, key: &Key<T>, value: &str) -> String {
        let setting = self.own.setting(key, value);
        let path = key.about.path.strip_prefix("targets[].").filter(|_| !self.own.is_of_flags());
        match path.and_then(|path| path.rsplit_once('.')) {
            Some((parent, _)) => format!("{parent}.{setting}"),
            None => setting,
        }
    }
}
