//! The agent around the targets.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{About, Absent, Choice, Descriptor, Flag, Group, Key, Kind, TARGET, Values};
use crate::metrics::{ClassicFactor, Histograms};
use crate::telemetry::{Format, Level};

const GROUP: Group = Group::Agent;

/// The [`About::pattern`] of an address to listen on.
const ADDRESS: &str =
    "^([Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]|[0-9a-fA-F:.]*|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$";

/// `targets`
pub static TARGETS: Key<&str> = Key {
    about: About {
        path: "targets",
        group: GROUP,
        help: "The caches to probe",
        example: "[{name: orders, host: orders.redis.cache.windows.net}]",
        keys: TARGET,
        ..About::EMPTY
    },
    values: Values::List(1, 10_000),
    absent: Absent::Described("none, if there are `target_files`; otherwise it must be given"),
};

/// `defaults`
pub static DEFAULTS: Key<&str> = Key {
    about: About {
        path: "defaults",
        group: GROUP,
        help: "Defaults for all targets: any key of a target except name, host and sentinel",
        doc: "A target's key replaces the default as a whole.",
        example: "{interval: 30s}",
        keys: {
            const DEFAULTS: &[&dyn Descriptor] = TARGET.split_at(3).1;
            DEFAULTS
        },
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `http`
pub static HTTP: Key<&str> = Key {
    about: About {
        path: "http",
        group: GROUP,
        help: "The HTTP endpoint",
        example: "{listen: \"127.0.0.1:9860\"}",
        keys: &[&LISTEN, &HEALTH_LISTEN, &WEB_CONFIG_FILE, &LIFECYCLE],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `http.listen`
pub static LISTEN: Key<SocketAddr> = Key {
    about: About {
        path: "http.listen",
        flag: Some(Flag::new("listen", "ADDRESS").common().allowed_beside_file()),
        group: GROUP,
        help: "Address and port of the HTTP endpoint",
        doc: "`localhost:9860` listens on loopback, `:9860` and `[::]:9860` on every address: of IPv6, if the machine \
              has it, and of IPv4. An address of IPv6 may lack its brackets, as in `$(POD_IP):9860` of Kubernetes.",
        example: "127.0.0.1:9860",
        pattern: ADDRESS,
        ..About::EMPTY
    },
    values: Values::Any,
    absent: Absent::Default(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 9860)),
};

/// `http.health_listen`
pub static HEALTH_LISTEN: Key<SocketAddr> = Key {
    about: About {
        path: "http.health_listen",
        flag: Some(Flag::new("health-listen", "ADDRESS").allowed_beside_file()),
        group: GROUP,
        help: "Address and port of a second endpoint that serves only /livez and /readyz",
        doc: "It never has TLS or sign-in, so that a kubelet can always ask it. It must differ from `http.listen`, and is \
              written in the same way.",
        example: ":9861",
        pattern: ADDRESS,
        ..About::EMPTY
    },
    values: Values::Any,
    absent: Absent::Nothing,
};

/// `http.web_config_file`
pub static WEB_CONFIG_FILE: Key<&str> = Key {
    about: About {
        path: "http.web_config_file",
        flag: Some(Flag::new("web-config-file", "FILE").alias("web.config.file").allowed_beside_file()),
        group: GROUP,
        help: "Web configuration file: TLS, users, headers and rate limit of the endpoint",
        doc: "In the format of Prometheus and its exporters. The file and those that it names are read again when they \
              change.",
        example: "/etc/cachepulse/web.yml",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Path, "the path of a file"),
    absent: Absent::Nothing,
};

/// `http.lifecycle`
pub static LIFECYCLE: Key<bool> = Key {
    about: About {
        path: "http.lifecycle",
        flag: Some(Flag::new("http-lifecycle", "BOOL").allowed_beside_file()),
        group: GROUP,
        help: "Whether POST /-/reload loads the configuration file again",
        doc: "Whoever reaches the endpoint may then reload, and read why a configuration is rejected.",
        ..About::EMPTY
    },
    values: Values::Any,
    absent: Absent::Default(false),
};

/// `log`
pub static LOG: Key<&str> = Key {
    about: About {
        path: "log",
        group: GROUP,
        help: "Logging, to standard error",
        example: "{level: info, format: text}",
        keys: &[&LOG_LEVEL, &LOG_FORMAT],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `log.level`
pub static LOG_LEVEL: Key<Level> = Key {
    about: About {
        path: "log.level",
        flag: Some(Flag::new("log-level", "LEVEL").common().allowed_beside_file()),
        group: GROUP,
        help: "Lowest level of the events to log",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice { name: Level::Error.as_str(), value: Level::Error, help: "Failures of the agent" },
        Choice { name: Level::Warn.as_str(), value: Level::Warn, help: "Problems that need attention" },
        Choice { name: Level::Info.as_str(), value: Level::Info, help: "Changes of state" },
        Choice {
            name: Level::Debug.as_str(),
            value: Level::Debug,
            help: "Each failed attempt, each re-authentication",
        },
        Choice { name: Level::Trace.as_str(), value: Level::Trace, help: "Everything" },
    ]),
    absent: Absent::Default(Level::Info),
};

/// `log.format`
pub static LOG_FORMAT: Key<Format> = Key {
    about: About {
        path: "log.format",
        flag: Some(Flag::new("log-format", "FORMAT").allowed_beside_file()),
        group: GROUP,
        help: "Format of the log lines",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice { name: Format::Text.as_str(), value: Format::Text, help: "For people" },
        Choice { name: Format::Json.as_str(), value: Format::Json, help: "One JSON object per line" },
    ]),
    absent: Absent::Default(Format::Text),
};

/// `metrics`
pub static METRICS: Key<&str> = Key {
    about: About {
        path: "metrics",
        group: GROUP,
        help: "How metrics are exported",
        example: "{classic_factor: 4}",
        keys: &[&HISTOGRAMS, &CLASSIC_FACTOR],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `metrics.histograms`
pub static HISTOGRAMS: Key<Histograms> = Key {
    about: About {
        path: "metrics.histograms",
        flag: Some(Flag::new("metrics-histograms", "KIND")),
        group: GROUP,
        help: "Kinds of histograms to export",
        doc: "Only the protobuf format has native histograms. Prometheus asks for it where native histograms are enabled, \
              and then stores only those.",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice {
            name: Histograms::Both.as_str(),
            value: Histograms::Both,
            help: "Classic buckets, and native ones where Prometheus asks for them",
        },
        Choice {
            name: Histograms::Classic.as_str(),
            value: Histograms::Classic,
            help: "Only classic buckets",
        },
        Choice {
            name: Histograms::Native.as_str(),
            value: Histograms::Native,
            help: "Only native buckets; the text formats then have only sums and counts",
        },
    ]),
    absent: Absent::Default(Histograms::Both),
};

/// `metrics.classic_factor`
pub static CLASSIC_FACTOR: Key<ClassicFactor> = Key {
    about: About {
        path: "metrics.classic_factor",
        flag: Some(Flag::new("metrics-classic-factor", "FACTOR")),
        group: GROUP,
        help: "Factor from one classic bucket to the next",
        doc: "With 4, histograms have half as many series, and quantiles are less exact.",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice { name: ClassicFactor::Two.as_str(), value: ClassicFactor::Two, help: "20 buckets" },
        Choice { name: ClassicFactor::Four.as_str(), value: ClassicFactor::Four, help: "10 buckets" },
    ]),
    absent: Absent::Default(ClassicFactor::Two),
};

/// `shutdown_grace_period`
pub static SHUTDOWN_GRACE_PERIOD: Key<Duration> = Key {
    about: About {
        path: "shutdown_grace_period",
        flag: Some(Flag::new("shutdown-grace-period", "DURATION")),
        group: GROUP,
        help: "Longest time that a shutdown waits for running requests",
        ..About::EMPTY
    },
    values: Values::Range(Duration::ZERO, Duration::from_secs(600)),
    absent: Absent::Default(Duration::from_secs(10)),
};
