// Every operation of the official service SDK. Argument: {connectionString, hub, connectionId, userId} of a
// connected client, and the otherId of one without a user. Writes what each operation answered as one JSON object.
const { WebPubSubServiceClient, odata } = require("@azure/web-pubsub");

const { connectionString, hub, connectionId, otherId, userId } = JSON.parse(process.argv[2]);
const service = new WebPubSubServiceClient(connectionString, hub, { allowInsecureConnection: true });

async function status(operation) {
  try {
    await operation();
    return 0;
  } catch (error) {
    return error.statusCode;
  }
}

async function main() {
  const told = {};
  const group = service.group("g/1");
  for (const id of [connectionId, otherId]) await group.addConnection(id);
  told.connectionExists = [await service.connectionExists(connectionId), await service.connectionExists("no")];
  told.userExists = [await service.userExists(userId), await service.userExists("no")];
  told.groupExists = [await service.groupExists("g/1"), await service.groupExists("no")];
  told.listed = [];
  for await (const member of await group.listConnections({ maxPageSize: 1 })) told.listed.push(member);
  const filter = odata`userId eq ${userId} and 'g/1' in groups`;
  await service.sendToAll({ to: "all" }, { filter, messageTtlSeconds: 60 });
  await service.sendToAll("unheard", { excludedConnections: [connectionId, otherId], contentType: "text/plain" });
  await service.sendToUser(userId, "user", { contentType: "text/plain", filter });
  await service.sendToConnection(connectionId, new Uint8Array([0, 255]).buffer);
  await group.sendToAll({ to: "group" }, { filter });
  await service.addConnectionsToGroups(["h", "i"], filter);
  told.added = [await service.groupExists("h"), await service.groupExists("i")];
  await service.removeConnectionsFromGroups(["h"], filter);
  told.removed = await service.groupExists("h");
  for (const id of [connectionId, otherId]) await service.removeConnectionFromAllGroups(id);
  await group.addUser(userId);
  await group.removeUser(userId);
  await group.addUser(userId);
  await service.removeUserFromAllGroups(userId);
  await group.addConnection(connectionId);
  await group.removeConnection(connectionId);
  told.empty = await service.groupExists("g/1");
  const permission = (name) => service.hasPermission(connectionId, name, { targetName: "p" });
  told.permissions = [await permission("sendToGroup")];
  await service.grantPermission(connectionId, "sendToGroup", { targetName: "p" });
  told.permissions.push(await permission("sendToGroup"));
  await service.revokePermission(connectionId, "sendToGroup", { targetName: "p" });
  told.permissions.push(await permission("sendToGroup"));
  told.badFilter = await status(() => service.sendToAll("x", { filter: "userId eq" }));
  told.badTtl = await status(() => service.sendToAll("x", { messageTtlSeconds: 301 }));
  told.missing = await status(() => group.addConnection("no"));
  told.token = await service.getClientAccessToken({ userId: "js", roles: ["webpubsub.joinLeaveGroup"], groups: ["t"] });
  await group.closeAllConnections({ reason: "nobody is there" });
  await service.closeUserConnections("no");
  await service.closeConnection("no");
  await service.closeAllConnections({ excluded: [connectionId] });
  told.spared = await service.connectionExists(connectionId);
  await service.closeConnection(connectionId, { reason: "done" });
  console.log(JSON.stringify(told));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
