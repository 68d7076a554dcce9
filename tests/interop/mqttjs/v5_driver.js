// MQTT.js, unmodified, as an MQTT 5 client that does one thing after the other: JSON lines in and out. See v5_clients.py.
"use strict";
const path = require("node:path");
const readline = require("node:readline");
const mqtt = require(require.resolve("mqtt", { paths: [process.env.HOMEPORT_MQTTJS || __dirname] }));

const DEADLINE_MS = 20000;
const NAMES = {
  user: "userProperties",
  response_topic: "responseTopic",
  correlation_data: "correlationData",
  content_type: "contentType",
  payload_format: "payloadFormatIndicator",
  message_expiry_s: "messageExpiryInterval",
  topic_alias: "topicAlias",
  topic_alias_maximum: "topicAliasMaximum",
  receive_maximum: "receiveMaximum",
  maximum_packet_size: "maximumPacketSize",
  session_expiry_s: "sessionExpiryInterval",
  subscription_identifier: "subscriptionIdentifier",
  assigned_client_id: "assignedClientIdentifier",
  server_keep_alive_s: "serverKeepAlive",
  will_delay_s: "willDelayInterval",
};

function toMqttJs(given) {
  if (!given) return undefined;
  const properties = {};
  for (const [name, value] of Object.entries(given)) {
    if (name === "user") {
      // An object of lists: MQTT.js keeps the order of the values of a name, and of the names.
      properties.userProperties = {};
      for (const [key, each] of value) (properties.userProperties[key] ||= []).push(each);
    } else if (name === "correlation_data") properties.correlationData = Buffer.from(value, "hex");
    else if (name === "payload_format") properties.payloadFormatIndicator = Boolean(value);
    else properties[NAMES[name]] = value;
  }
  return properties;
}

function fromMqttJs(properties) {
  const found = {};
  for (const [name, theirs] of Object.entries(NAMES)) {
    let value = (properties || {})[theirs];
    if (value === undefined) continue;
    if (name === "user") value = Object.entries(value).flatMap(([key, each]) => [].concat(each).map((one) => [key, one]));
    else if (name === "subscription_identifier") value = [].concat(value);
    else if (Buffer.isBuffer(value)) value = value.toString("hex");
    else if (typeof value === "boolean") value = Number(value);
    found[name] = value;
  }
  return found;
}

let client = null;
const messages = [];
const waiting = [];

const DO = {
  connect(job) {
    const will = job.will && {
      topic: job.will.topic,
      payload: Buffer.from(job.will.payload, "hex"),
      qos: job.will.qos,
      properties: toMqttJs(job.will.properties),
    };
    client = mqtt.connect({
      protocol: "mqtt",
      host: job.host,
      port: job.port,
      protocolVersion: 5,
      clientId: job.client_id,
      username: job.username,
      password: job.password,
      clean: job.clean_start,
      properties: toMqttJs(job.properties),
      will: will || undefined,
      reconnectPeriod: 0,
      resubscribe: false,
      connectTimeout: DEADLINE_MS,
    });
    client.on("message", (topic, payload, packet) => {
      const message = {
        topic,
        payload: payload.toString("hex"),
        qos: packet.qos,
        retain: packet.retain,
        properties: fromMqttJs(packet.properties),
      };
      const next = waiting.shift();
      if (next) next(message);
      else messages.push(message);
    });
    return new Promise((done, failed) => {
      client.once("error", failed);
      client.once("connect", (packet) => {
        client.on("error", () => {}); // What ends a connection is seen by what waits for it.
        done({
          reason: packet.reasonCode,
          session_present: packet.sessionPresent,
          properties: fromMqttJs(packet.properties),
        });
      });
    });
  },
  async subscribe(job) {
    const options = { qos: job.qos, nl: job.no_local, rap: job.retain_as_published, rh: job.retain_handling };
    if (job.properties) options.properties = toMqttJs(job.properties);
    const granted = await client.subscribeAsync(job.topic_filter, options);
    return { reasons: granted.map((each) => each.qos) };
  },
  async publish(job) {
    const options = { qos: job.qos, retain: job.retain, properties: toMqttJs(job.properties) };
    const packet = await client.publishAsync(job.topic, Buffer.from(job.payload, "hex"), options);
    return { reason: (packet && packet.reasonCode) || 0 };
  },
  receive() {
    if (messages.length) return Promise.resolve(messages.shift());
    return new Promise((done) => waiting.push(done));
  },
  async disconnect(job) {
    await client.endAsync(false, { properties: toMqttJs(job.properties) });
    return { reason: 0 };
  },
  drop() {
    return new Promise((done) => {
      client.once("close", () => done({}));
      client.stream.destroy();
    });
  },
};

let before = Promise.resolve();
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const job = JSON.parse(line);
  before = before.then(async () => {
    const late = setTimeout(() => {
      process.stderr.write(`${job.do}: nothing came\n`);
      process.exit(1);
    }, DEADLINE_MS);
    try {
      process.stdout.write(JSON.stringify(await DO[job.do](job)) + "\n");
    } catch (error) {
      process.stderr.write(`${job.do}: ${error && error.stack}\n`);
      process.exit(1);
    }
    clearTimeout(late);
  });
}).on("close", () => before.then(() => process.exit(0)));
