// Uses a claim link when its holder asks for it, shows the key once, and asks for a new link.
"use strict";

const api = location.href.split("/claim/")[0];
const element = (id) => document.getElementById(id);

function say(text) {
  element("status").textContent = text;
}

function show(id) {
  for (const section of ["offer", "given", "refused"]) element(section).hidden = section !== id;
}

// The answer's status and JSON; null if there was none.
async function post(address, body) {
  try {
    const answer = await fetch(address, {
      method: "POST",
      headers: body ? { "content-type": "application/json" } : {},
      body: body ? JSON.stringify(body) : undefined,
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
      redirect: "error",
    });
    return { status: answer.status, content: await answer.json() };
  } catch {
    return null;
  }
}

function shownTime(text) {
  return new Date(text).toLocaleString(undefined, { dateStyle: "long", timeStyle: "short" });
}

async function useLink() {
  element("show").disabled = element("again").disabled = true;
  say("Making your key ...");
  const answer = await post(location.href.split(/[?#]/)[0]);
  element("show").disabled = element("again").disabled = false;
  say("");
  if (answer && answer.status === 200) showKey(answer.content);
  else refuse(answer);
}

function showKey(claimed) {
  element("key").value = claimed.key;
  element("plan").textContent = claimed.plan;
  element("symbols").textContent = claimed.symbols.join(", ");
  element("ends").textContent = claimed.license_expires_at ? shownTime(claimed.license_expires_at) : "never";
  element("others").hidden = !claimed.others_end_at;
  if (claimed.others_end_at) {
    element("others-end").dateTime = claimed.others_end_at;
    element("others-end").textContent = shownTime(claimed.others_end_at);
  }
  const command = element("command");
  command.textContent = command.dataset.template.replace("{key}", claimed.key).replace("{api}", api);
  show("given");
  element("title").focus();
  say("Your key is shown. Copy it now.");
}

function refuse(answer) {
  // Without an answer, or with a 429 or a 5xx, the link may still work.
  const mayWork = !answer || answer.status === 429 || answer.status >= 500;
  element("reason").textContent = answer
    ? answer.content.detail
    : "The service could not be reached. Check your connection, then try again.";
  element("again").hidden = !mayWork;
  element("ask").hidden = mayWork;
  show("refused");
  element("title").focus();
}

async function askForLink(event) {
  event.preventDefault();
  element("send").disabled = true;
  say("Sending ...");
  const answer = await post(`${api}/claims`, { email: element("email").value });
  element("send").disabled = false;
  if (!answer) say("The service could not be reached. Try again.");
  else say(answer.content.detail);
}

async function copy(text, what, place) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied.`);
  } catch {
    element(place).focus();
    if (place !== "key") getSelection().selectAllChildren(element(place));
    say(`The browser did not allow copying. The ${what.toLowerCase()} is selected: copy it by hand.`);
  }
}

element("show").addEventListener("click", useLink);
element("again").addEventListener("click", useLink);
element("ask").addEventListener("submit", askForLink);
element("copy").addEventListener("click", () => copy(element("key").value, "Key", "key"));
element("copy-command").addEventListener("click", () => copy(element("command").textContent, "Command", "command"));
element("key").addEventListener("focus", () => element("key").select());
