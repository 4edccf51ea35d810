//! The JSON Schema of `/status`. It derives from the types of the documents, for `crates/reference`, which keeps it in
//! `schema.json`. The agent contains only this text: computing it would make the binary 130 KB larger.

/// The JSON Schema of `/status`.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(feature = "schema")]
pub use self::derived::schema;

#[cfg(feature = "schema")]
mod derived {
    use std::borrow::Cow;

    use schemars::generate::SchemaSettings;
    use schemars::transform::{Transform, transform_subschemas};
    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use serde_json::Value;

    use crate::clock::Rfc3339;
    use crate::probe::{FailureReason, Phase, Role, Stage, Step, StepResult};
    use crate::status::{NoticeState, Quorum, StatusDocument};

    /// Returns the schema that `schema.json` must have.
    #[must_use]
    pub fn schema() -> Value {
        let generator =
            SchemaSettings::draft2020_12().for_serialize().with_transform(WithoutNone).into_generator();
        let mut schema = generator.into_root_schema_for::<StatusDocument>();
        schema.insert("title".into(), "Status of cachepulse".into());
        schema.into()
    }

    /// Replaces Rust's word for a value that is null or absent.
    #[derive(Clone, Debug)]
    struct WithoutNone;

    impl Transform for WithoutNone {
        fn transform(&mut self, schema: &mut Schema) {
            if let Some(Value::String(text)) = schema.get_mut("description") {
                *text = text.replace("`None`", "Null or absent");
            }
            transform_subschemas(self, schema);
        }
    }

    /// Implements the schema of types that are written as a label.
    macro_rules! labels {
        ($($label:ident),+) => {$(
            impl JsonSchema for $label {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($label).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({"type": "string", "enum": $label::ALL.map($label::as_str)})
                }
            }
        )+};
    }

    labels!(FailureReason, Phase, Step, StepResult, Role, Quorum, NoticeState);

    impl JsonSchema for Stage {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "Stage".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            let phases = Phase::ALL.into_iter().map(Self::Phase);
            let steps = Step::ALL.into_iter().map(Self::Step);
            let stages = phases.chain(steps).chain([Self::Topology, Self::Idle]);
            json_schema!({"type": "string", "enum": stages.map(Self::as_str).collect::<Vec<_>>()})
        }
    }

    impl JsonSchema for Rfc3339 {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "Rfc3339".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "format": "date-time"})
        }
    }
}
