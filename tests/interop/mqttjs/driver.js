// MQTT.js, unmodified, driven by one JSON object on standard input; says what happens in JSON lines. See clients.py.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const mqtt = require(require.resolve("mqtt", { paths: [process.env.HOMEPORT_MQTTJS || __dirname] }));

const job = JSON.parse(fs.readFileSync(0, "utf8"));
const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const fail = (error) => {
  process.stderr.write(String(error && error.stack ? error.stack : error) + "\n");
  process.exit(1);
};

const client = mqtt.connect({
  protocol: (job.web ? ["ws", "wss"] : ["mqtt", "mqtts"])[job.tls ? 1 : 0],
  path: job.web ? "/mqtt" : undefined,
  host: job.host,
  port: job.port,
  ca: job.tls ? fs.readFileSync(job.ca_file) : undefined,
  cert: job.certificate ? fs.readFileSync(job.certificate) : undefined,
  key: job.certificate ? fs.readFileSync(job.certificate) : undefined,
  protocolVersion: job.version,
  clientId: job.client_id,
  username: job.username,
  password: job.password,
  clean: true,
  reconnectPeriod: 0,
  connectTimeout: 10000,
});
client.on("error", fail);
client.on("close", () => fail("the connection was closed"));

let left = job.count;
client.on("message", (topic, payload, packet) => {
  say({ topic, payload: payload.toString("hex"), qos: packet.qos });
  left -= 1;
  if (left === 0 && packet.qos === 0) finish();
});
client.on("packetsend", (packet) => {
  // Only now: a PUBACK behind DISCONNECT is answered with a reset.
  if (left === 0 && packet.cmd === "puback") setImmediate(finish);
});

function finish() {
  client.removeAllListeners("close");
  client.end(); // The process ends when its output is written.
}

client.on("connect", () => {
  if (job.action === "subscribe") {
    client.subscribe(job.topic_filter, { qos: job.qos }, (error, granted) => {
      if (error) fail(error);
      say({ ready: granted.map((each) => each.qos) });
    });
    return;
  }
  Promise.all(
    job.messages.map((each) => client.publishAsync(each.topic, Buffer.from(each.payload, "hex"), { qos: job.qos })),
  ).then(finish, fail);
});
