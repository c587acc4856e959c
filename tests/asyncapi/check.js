// Parses the document with the official parser and its Avro plug-in; any error or warning fails.
const fs = require("fs");
const assert = require("assert");
const { Parser } = require("@asyncapi/parser");
const { AvroSchemaParser } = require("@asyncapi/avro-schema-parser");

// Rules of style that do not hold for a document that names no server and says one thing per file.
const IGNORED = new Set(["asyncapi-latest-version", "asyncapi-tags", "asyncapi3-tags", "asyncapi-info-contact"]);

async function main(file) {
  const parser = new Parser();
  parser.registerSchemaParser(AvroSchemaParser());
  const text = fs.readFileSync(file, "utf8");
  const { document, diagnostics } = await parser.parse(text);
  const found = diagnostics.filter((d) => d.severity <= 1 && !IGNORED.has(d.code));
  for (const d of found) console.error(d.code, d.path.join("."), d.message);
  assert(document, "the document does not parse");
  assert.strictEqual(found.length, 0, `${found.length} errors and warnings`);
  const topics = document.channels().all();
  const messages = document.allMessages().all();
  for (const message of messages) {
    // Avro, translated into a JSON Schema by the plug-in.
    const { schema } = message.payload().json();
    assert(schema.properties && Object.keys(schema.properties).length > 0, `${message.id()} has no fields`);
  }
  // A schema that is none is noticed.
  const broken = JSON.parse(text);
  const some = Object.values(broken.components.messages)[0];
  some.payload.schema.fields[0].type = "no such type";
  const refused = await parser.parse(JSON.stringify(broken));
  assert(!refused.document || refused.diagnostics.some((d) => d.severity === 0), "a broken schema was not noticed");
  console.log(`asyncapi: ${topics.length} topics, ${messages.length} messages, no complaint`);
}

main(process.argv[2]).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
