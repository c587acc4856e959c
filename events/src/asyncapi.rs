//! The topics as an AsyncAPI 3.0 document, made from the catalogue and the schemas, for those who
//! subscribe to them.

use crate::applications::NodeApplicationEvent;
use crate::approvals::ApprovalEvent;
use crate::deployments::DeploymentEvent;
use crate::deposits::DepositEvent;
use crate::notifications::NotificationEvent;
use crate::purchases::PurchaseEvent;
use crate::schema::{EventSet, SchemaFile, full_name};
use crate::topics::{self, Topic};
use crate::treasury::TreasuryEvent;
use crate::unmatched::UnmatchedEvent;
use crate::users::UserEvent;
use serde_json::{Map, Value, json};

/// What payloads are written in.
const AVRO: &str = "application/vnd.apache.avro;version=1.9.0";

/// The document, as JSON.
///
/// # Errors
/// When a schema file is not JSON: a fault of ours, which the tests of the schemas rule out.
pub fn document() -> Result<String, serde_json::Error> {
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = Map::new();
    for (set, schemas) in [
        (topics::of::<PurchaseEvent>(), PurchaseEvent::SCHEMAS),
        (topics::of::<DeploymentEvent>(), DeploymentEvent::SCHEMAS),
        (topics::of::<DepositEvent>(), DepositEvent::SCHEMAS),
        (topics::of::<UserEvent>(), UserEvent::SCHEMAS),
        (topics::of::<UnmatchedEvent>(), UnmatchedEvent::SCHEMAS),
        (topics::of::<TreasuryEvent>(), TreasuryEvent::SCHEMAS),
        (
            topics::of::<NotificationEvent>(),
            NotificationEvent::SCHEMAS,
        ),
        (
            topics::of::<NodeApplicationEvent>(),
            NodeApplicationEvent::SCHEMAS,
        ),
        (topics::of::<ApprovalEvent>(), ApprovalEvent::SCHEMAS),
    ] {
        if let Some(topic) = set {
            channel(
                topic,
                schemas,
                &mut channels,
                &mut operations,
                &mut messages,
            )?;
        }
    }
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Gridway events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every fact, in the topic of its aggregate, for ever. Payloads are Avro in Confluent wire format \
                            (a zero byte, the schema's id in the registry as four bytes, the datum); subjects are topic-record \
                            names, compatibility is BACKWARD_TRANSITIVE. Headers are CloudEvents 1.0 in binary mode. The first \
                            record of a `ce_id` in a partition is the fact; a later one with the same id is an echo and changes \
                            nothing. Read committed.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/vnd.confluent.avro",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "messageTraits": { "cloudEvent": { "headers": headers() } } },
    });
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

fn channel(
    topic: Topic,
    schemas: &[SchemaFile],
    channels: &mut Map<String, Value>,
    operations: &mut Map<String, Value>,
    messages: &mut Map<String, Value>,
) -> Result<(), serde_json::Error> {
    let mut own = Map::new();
    for file in schemas {
        let schema: Value = serde_json::from_str(file.avsc)?;
        let id = format!("{}.{}", topic.name, file.name);
        let message = json!({
            "name": full_name(topic.name, file.name),
            "title": file.name,
            "summary": schema["doc"],
            "contentType": "application/vnd.confluent.avro",
            "traits": [{ "$ref": "#/components/messageTraits/cloudEvent" }],
            "bindings": { "kafka": { "key": { "type": "string", "description": topic.key }, "bindingVersion": "0.5.0" } },
            "payload": { "schemaFormat": AVRO, "schema": schema },
        });
        own.insert(
            file.name.to_owned(),
            json!({ "$ref": format!("#/components/messages/{id}") }),
        );
        messages.insert(id, message);
    }
    channels.insert(
        topic.name.to_owned(),
        json!({
            "address": topic.name,
            "description": format!("Keyed by {}; the order of a partition is the order of its aggregates.", topic.key),
            "messages": own,
            "bindings": { "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": { "cleanup.policy": ["delete"], "retention.ms": -1 },
                "bindingVersion": "0.5.0",
            } },
        }),
    );
    operations.insert(
        format!("tell-{}", topic.name),
        json!({
            "action": "send",
            "summary": format!("Gridway appends what happens to {}.", topic.name),
            "channel": { "$ref": format!("#/channels/{}", topic.name) },
        }),
    );
    Ok(())
}

fn headers() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"],
        "properties": {
            "ce_specversion": { "type": "string", "const": "1.0" },
            "ce_id": { "type": "string", "format": "uuid", "description": "Identity of the event, derived from what it is about." },
            "ce_source": text("Who appended it, such as /gridway/purchases."),
            "ce_type": text("Full name of the event, as the message's name here."),
            "ce_time": { "type": "string", "format": "date-time" },
            "ce_subject": text("The record's key."),
            "ce_correlationid": text("What it belongs to, usually the purchase."),
            "ce_causationid": text("The event that caused it."),
            "traceparent": text("W3C trace context."),
        },
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_topic_and_every_schema_is_in_the_document() {
        let document: Value = serde_json::from_str(&document().unwrap()).unwrap();
        for topic in topics::ALL {
            let channel = &document["channels"][topic.name];
            assert_eq!(channel["bindings"]["kafka"]["partitions"], topic.partitions);
            let files = std::fs::read_dir(format!("schemas/{}", topic.name)).unwrap();
            assert_eq!(
                files.count(),
                channel["messages"].as_object().unwrap().len(),
                "{}",
                topic.name
            );
        }
    }

    #[test]
    fn the_checked_in_document_is_made_from_the_schemas() {
        let kept = std::fs::read_to_string("../docs/asyncapi.json").unwrap_or_default();
        assert!(
            kept == document().unwrap(),
            "docs/asyncapi.json is old; write it anew with `gridway asyncapi > docs/asyncapi.json`"
        );
    }
}
