//! The Rust types are held against their schemas, and the schemas against what was released.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use apache_avro::schema_compatibility::SchemaCompatibility;
use apache_avro::types::Value;
use apache_avro::{Schema, to_value};
use events::schema::{Datum, EventSet, Prepared, full_name, prepared};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

type Named = HashMap<String, Schema>;

/// A value of the schema. `full` fills optional fields and picks the last symbol of an enum,
/// otherwise they are null and the first. Every text is a UUID, so that it can be any id.
fn sample(schema: &Schema, full: bool, named: &mut Named) -> Value {
    match schema {
        Schema::Null => Value::Null,
        Schema::Boolean => Value::Boolean(full),
        Schema::Int => Value::Int(7),
        Schema::Long => Value::Long(1_234_567_890_123),
        Schema::TimestampMillis => Value::TimestampMillis(1_790_000_000_123),
        Schema::String => Value::String("6f9619ff-8b86-5011-b42d-00c04fc964ff".into()),
        Schema::Array(array) => Value::Array(if full {
            vec![sample(&array.items, full, named)]
        } else {
            vec![]
        }),
        Schema::Union(union) => {
            let index = usize::from(full);
            Value::Union(
                u32::try_from(index).unwrap(),
                Box::new(sample(&union.variants()[index], full, named)),
            )
        }
        Schema::Enum(symbols) => {
            let index = if full { symbols.symbols.len() - 1 } else { 0 };
            Value::Enum(
                u32::try_from(index).unwrap(),
                symbols.symbols[index].clone(),
            )
        }
        Schema::Record(record) => {
            named.insert(record.name.fullname(None).clone(), schema.clone());
            Value::Record(
                record
                    .fields
                    .iter()
                    .map(|f| (f.name.clone(), sample(&f.schema, full, named)))
                    .collect(),
            )
        }
        Schema::Ref { name } => {
            let target = named.get(&name.fullname(None).clone()).unwrap().clone();
            sample(&target, full, named)
        }
        other => panic!("the sample maker does not know {other:?}; teach it"),
    }
}

/// Ids on chain are `u32`, and a long may be more: keep such fields small.
fn shrink(value: &mut Value) {
    match value {
        Value::Record(fields) => {
            for (name, value) in fields {
                let id = name == "twin_id" || name == "node_id";
                match value {
                    Value::Long(n) if id => *n = 4_000_000_000,
                    Value::Union(_, value) => {
                        if let (true, Value::Long(n)) = (id, &mut **value) {
                            *n = 4_000_000_000;
                        }
                    }
                    value => shrink(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(shrink),
        _ => {}
    }
}

fn hold<E: EventSet>() {
    assert!(!E::SCHEMAS.is_empty());
    for file in E::SCHEMAS {
        let schema = Schema::parse_str(file.avsc).unwrap();
        let expected = full_name(E::TOPIC, file.name);
        assert_eq!(schema.name().unwrap().fullname(None).clone(), expected);
        for full in [false, true] {
            let mut value = sample(&schema, full, &mut Named::new());
            shrink(&mut value);
            let bytes = apache_avro::writer::datum::GenericDatumWriter::builder(&schema)
                .build()
                .unwrap()
                .write_value_to_vec(value.clone())
                .unwrap();
            let schema = Prepared::new(&schema).unwrap();
            // Direct, and through resolution: both must give the same event.
            let direct = Datum {
                bytes: &bytes,
                writer: &schema,
                reader: None,
            };
            let event = E::decode(file.name, &direct)
                .unwrap()
                .unwrap_or_else(|e| panic!("{expected}: {e}"));
            let resolved = Datum {
                bytes: &bytes,
                writer: &schema,
                reader: Some(&schema),
            };
            assert_eq!(
                E::decode(file.name, &resolved).unwrap().unwrap(),
                event,
                "{expected}"
            );
            // A field that one side lacks would be missing here.
            assert_eq!(event.encode(&schema).unwrap(), bytes, "{expected}");
            assert_eq!(event.name(), file.name);
            // What is kept as JSON on its way to the log is the same event.
            let json = event.to_json().unwrap();
            assert_eq!(
                E::from_json(file.name, json).unwrap().unwrap(),
                event,
                "{expected}"
            );
        }
    }
    let on_disk: BTreeSet<String> = fs::read_dir(format!("schemas/{}", E::TOPIC))
        .unwrap()
        .map(|f| {
            f.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let in_code: BTreeSet<String> = E::SCHEMAS.iter().map(|f| f.name.to_owned()).collect();
    assert_eq!(
        on_disk, in_code,
        "a schema file without a type, or a type without a file"
    );
}

#[test]
fn every_type_holds_against_its_schema_both_ways() {
    hold::<events::purchases::PurchaseEvent>();
    hold::<events::deployments::DeploymentEvent>();
    hold::<events::users::UserEvent>();
    hold::<events::deposits::DepositEvent>();
    hold::<events::treasury::TreasuryEvent>();
    hold::<events::notifications::NotificationEvent>();
    hold::<events::unmatched::UnmatchedEvent>();
    hold::<events::applications::NodeApplicationEvent>();
    hold::<events::approvals::ApprovalEvent>();
}

/// Every schema that was ever released can be read by the current one, as the registry's
/// BACKWARD_TRANSITIVE demands.
#[test]
fn current_schemas_read_every_released_version() {
    let mut checked = 0;
    for version in fs::read_dir("released").unwrap() {
        for topic in fs::read_dir(version.unwrap().path()).unwrap() {
            let topic = topic.unwrap().path();
            for released in fs::read_dir(&topic).unwrap() {
                let released = released.unwrap().path();
                let current = Path::new("schemas")
                    .join(topic.file_name().unwrap())
                    .join(released.file_name().unwrap());
                let current = fs::read_to_string(&current).unwrap_or_else(|e| {
                    panic!("{} was released and must stay: {e}", current.display())
                });
                let writer = Schema::parse_str(&fs::read_to_string(&released).unwrap()).unwrap();
                let reader = Schema::parse_str(&current).unwrap();
                SchemaCompatibility::can_read(&writer, &reader).unwrap_or_else(|e| {
                    panic!("{} can no longer be read: {e}", released.display())
                });
                checked += 1;
            }
        }
    }
    assert!(checked >= 36, "only {checked} released schemas found");
}

fn edited(avsc: &str, edit: impl FnOnce(&mut Vec<serde_json::Value>)) -> Schema {
    let mut json: serde_json::Value = serde_json::from_str(avsc).unwrap();
    edit(json["fields"].as_array_mut().unwrap());
    Schema::parse(&json).unwrap()
}

/// What another team's newer or older writer sends is read, as long as it is compatible.
#[test]
fn compatible_writers_of_other_versions_are_read() {
    use events::purchases::{PurchaseEvent, SwapCompleted};
    let file = PurchaseEvent::SCHEMAS
        .iter()
        .find(|f| f.name == "SwapCompleted")
        .unwrap();
    let ours = Schema::parse_str(file.avsc).unwrap();
    let mut value = sample(&ours, true, &mut Named::new());
    shrink(&mut value);

    let newer = edited(file.avsc, |fields| {
        fields.insert(
            0,
            serde_json::json!({"name": "memo", "type": "string", "default": ""}),
        );
    });
    let Value::Record(mut fields) = value.clone() else {
        panic!("not a record")
    };
    fields.insert(0, ("memo".into(), Value::String("new".into())));
    let bytes = apache_avro::writer::datum::GenericDatumWriter::builder(&newer)
        .build()
        .unwrap()
        .write_value_to_vec(Value::Record(fields))
        .unwrap();
    let datum = Datum {
        bytes: &bytes,
        writer: &Prepared::new(&newer).unwrap(),
        reader: Some(&Prepared::new(&ours).unwrap()),
    };
    let event = PurchaseEvent::decode("SwapCompleted", &datum)
        .unwrap()
        .unwrap();
    let PurchaseEvent::SwapCompleted(SwapCompleted { attempt, .. }) = event else {
        panic!("another event")
    };
    assert_eq!(attempt, 7);

    // An incompatible one, on the other hand, is refused: the field has no default.
    let older = edited(file.avsc, |fields| fields.retain(|f| f["name"] != "lane"));
    assert!(SchemaCompatibility::can_read(&older, &ours).is_err());
}

#[test]
fn bytes_that_do_not_fit_are_refused() {
    use events::users::{UserEvent, UserRegistered};
    let file = UserEvent::SCHEMAS
        .iter()
        .find(|f| f.name == "UserRegistered")
        .unwrap();
    let schema = prepared(file.avsc).unwrap();
    let event = UserRegistered {
        user_id: events::ids::UserId::derive(&["a"]),
        registered_at: events::time::Timestamp(1),
    };
    assert!(to_value(&event).is_ok());
    let bytes = UserEvent::from(event).encode(schema).unwrap();
    for end in 0..bytes.len() {
        let datum = Datum {
            bytes: &bytes[..end],
            writer: schema,
            reader: None,
        };
        assert!(
            UserEvent::decode("UserRegistered", &datum)
                .unwrap()
                .is_err(),
            "cut at {end}"
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let datum = Datum {
        bytes: &longer,
        writer: schema,
        reader: None,
    };
    assert!(
        UserEvent::decode("UserRegistered", &datum)
            .unwrap()
            .is_err()
    );
}
