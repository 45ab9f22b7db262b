// The official client through one scenario, named by the first argument. Reads {url, ...} as JSON from the
// second, writes one JSON object a line; "cut" asks the test to break the connection.
const { WebPubSubClient, WebPubSubJsonProtocol } = require("@azure/web-pubsub-client");

const [scenario, argument] = process.argv.slice(2);
const options = JSON.parse(argument);
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

function open(url, clientOptions = {}) {
  const client = new WebPubSubClient({ getClientAccessUrl: async () => url }, clientOptions);
  const heard = { messages: [], connected: [], disconnected: [] };
  client.on("connected", (e) => heard.connected.push(e.connectionId));
  client.on("disconnected", (e) => heard.disconnected.push(e.message?.message ?? null));
  client.on("group-message", (e) => heard.messages.push(e.message));
  client.on("server-message", (e) => heard.messages.push(e.message));
  return { client, heard };
}

async function until(condition, what, timeoutMs = 20_000) {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const scenarios = {
  async talk() {
    const { client, heard } = open(options.url);
    await client.start();
    await client.joinGroup("g");
    for (let n = 0; n < 20; n++) await client.sendToGroup("g", { n }, "json");
    await client.sendToGroup("g", "text", "text");
    await client.sendToGroup("g", new Uint8Array([0, 255]).buffer, "binary");
    await client.sendToGroup("g", "unheard", "text", { noEcho: true });
    const again = await client.sendToGroup("g", "once", "text", { ackId: 777 });
    const duplicate = await client.sendToGroup("g", "once", "text", { ackId: 777 });
    await client.sendEvent("anything", { x: 1 }, "json");
    await until(() => heard.messages.length === 23, "all messages");
    const data = heard.messages.map((m) => (m.data instanceof ArrayBuffer ? [...new Uint8Array(m.data)] : m.data));
    say("heard", {
      data,
      sequence: heard.messages.map((m) => m.sequenceId),
      from: heard.messages[0].fromUserId,
      duplicated: [again.isDuplicated, duplicate.isDuplicated],
    });
    await client.leaveGroup("g");
    client.stop();
  },

  async forbidden() {
    const { client } = open(options.url, { messageRetryOptions: { maxRetries: 0 } });
    await client.start();
    const errors = [];
    for (const attempt of [() => client.joinGroup("g"), () => client.sendToGroup("g", "x", "text")]) {
      await attempt().catch((error) => errors.push(error.errorDetail.name));
    }
    say("refused", { errors });
    client.stop();
  },

  async survive() {
    const { client, heard } = open(options.url);
    await client.start();
    await client.joinGroup("g");
    say("joined");
    await until(() => heard.messages.length >= options.count, "all messages");
    say("heard", { data: heard.messages.map((m) => m.data.n), connected: heard.connected.length });
    client.stop();
  },

  async restart() {
    const { client, heard } = open(options.url);
    await client.start();
    await client.joinGroup("g");
    say("joined");
    await until(() => heard.messages.length >= 1, "a message");
    say("heard", { data: heard.messages.map((m) => m.data), connected: heard.connected.length });
    client.stop();
  },

  async closed() {
    const { client, heard } = open(options.url, { protocol: WebPubSubJsonProtocol(), autoReconnect: false });
    let stopped = false;
    client.on("stopped", () => (stopped = true));
    await client.start();
    say("joined");
    await until(() => stopped, "the end");
    say("heard", { reasons: heard.disconnected });
  },

  async expired() {
    const { client } = open(options.url, { autoReconnect: false });
    await client.start().then(
      () => say("opened"),
      (error) => say("refused", { message: error.message }),
    );
  },
};

scenarios[scenario]().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
