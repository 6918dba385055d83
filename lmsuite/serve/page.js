"use strict";
/* The script of the page of lm serve. What a model writes is only ever set as text, never as markup,
   and what would be invisible in it is spelled out. */

const facts = JSON.parse(document.getElementById("facts").textContent);
const $ = (id) => document.getElementById(id);
const SETTINGS = ["temperature", "top_k", "top_p", "min_p", "max_tokens", "seed"];
const OPTIONS = { temperature: "--temp", top_k: "--top-k", top_p: "--top-p", min_p: "--min-p",
  max_tokens: "--max-tokens", seed: "--seed" };
const SHOWN = 10; // tokens of the bars
const WAIT = 150; // milliseconds without a key, before the bars are asked for

/* As report/visible.py: control characters as pictures, other invisible ones by their numbers. */
function visible(text) {
  return text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff0-\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
    (found) => {
      const code = found.charCodeAt(0);
      if (code < 32) return String.fromCharCode(0x2400 + code);
      return code === 0x7f ? "\u2421" : `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
    });
}

function element(kind, text, classes) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

function chosen() {
  return [...document.querySelectorAll("input[name=model]:checked")].map((box) => box.value);
}

function settings() {
  return Object.fromEntries(SETTINGS.map((name) => [name, Number($(name).value)]));
}

function say(text, isBad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", isBad);
}

async function post(body, signal) {
  const response = await fetch("v1/completions", {
    method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body), signal,
  });
  if (response.ok) return response;
  let message = `the server answered ${response.status}`;
  try { message = (await response.json()).error.message; } catch { /* no JSON: the status says it */ }
  throw new Error(message);
}

/* The objects of a stream of server-sent events. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const read = JSON.parse(data);
      if (read.error) throw new Error(read.error.message);
      yield read;
    }
  }
}

/* The next token's bars. */

let asking = null;
let timer = 0;

function askSoon() {
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT);
}

async function ask() {
  if (asking) asking.abort();
  const own = asking = new AbortController();
  const prompt = $("prompt").value;
  const columns = await Promise.all(chosen().map(async (model) => {
    const column = element("article");
    const heading = element("h3");
    heading.append(element("bdi", visible(model)));
    column.append(heading);
    try {
      const body = { model, prompt, max_tokens: 1, temperature: 0, logprobs: SHOWN };
      const answer = await (await post(body, own.signal)).json();
      column.append(bars(answer.choices[0].logprobs.top_logprobs[0] || {}, model));
    } catch (error) {
      if (error.name === "AbortError") return null;
      column.append(element("p", visible(error.message), "bad"));
    }
    return column;
  }));
  if (own === asking && !columns.includes(null)) $("next").replaceChildren(...columns);
}

function bars(logProbs, model) {
  const list = element("ol", undefined, "bars");
  const all = Object.entries(logProbs).sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
  for (const [token, logProb] of all) {
    const button = element("button");
    button.type = "button";
    button.style.setProperty("--w", `${(100 * Math.exp(logProb)).toFixed(1)}%`);
    button.append(element("bdi", spelled(token)), element("span", share(Math.exp(logProb))));
    button.setAttribute("aria-label", `${spelled(token)}: ${share(Math.exp(logProb))}; put it there`);
    const isText = !token.startsWith("bytes:") && !["<unk>", "<s>"].includes(token);
    button.disabled = !isText;
    button.addEventListener("click", () => {
      const added = token === "</s>" ? facts.ends[model] : token;
      $("prompt").value += added;
      ask();
    });
    const item = element("li");
    item.append(button);
    list.append(item);
  }
  return list;
}

function spelled(token) {
  return visible(token).replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ | $/g, "␣");
}

function share(probability) {
  if (probability >= 0.001) return `${(100 * probability).toFixed(1)} %`;
  return probability.toExponential(1);
}

/* Texts. */

let writing = null;

class Text {
  constructor(model, prompt) {
    this.prompt = prompt;
    this.points = []; // the text so far, a character each: the offsets count these
    this.tokens = [];
    this.column = element("article");
    const heading = element("h3");
    heading.append(element("bdi", visible(model)));
    this.note = element("p", "", "note");
    this.body = element("p", undefined, "text");
    this.body.setAttribute("role", "group");
    this.body.setAttribute("aria-label", `The text of ${visible(model)}`);
    this.body.append(element("span", visible(prompt), "given"));
    this.column.append(heading, this.body, this.note);
  }

  add(choice) {
    this.points.push(...choice.text);
    const { tokens, token_logprobs: logProbs, text_offset: offsets } = choice.logprobs;
    const from = Math.max(0, this.tokens.length - 1);
    tokens.forEach((name, i) => {
      const span = element("bdi", "", "t");
      const bits = -logProbs[i] / Math.LN2;
      span.classList.add(`h${facts.levels.filter((level) => bits >= level).length}`);
      span.tabIndex = this.tokens.length ? -1 : 0;
      span.setAttribute("role", "button");
      this.tokens.push({ name, logProb: logProbs[i], offset: offsets[i], span });
      this.body.append(span);
    });
    for (let i = from; i < this.tokens.length; i += 1) this.show(i);
  }

  show(i) {
    const { span, name, logProb } = this.tokens[i];
    span.textContent = visible(this.cut(i, i + 1)).replaceAll("\n", "↵\n");
    span.setAttribute("aria-label", `${spelled(name)}, ${told(logProb)}`);
  }

  cut(i, j) {
    const end = j < this.tokens.length ? this.tokens[j].offset : this.points.length;
    return this.points.slice(this.tokens[i].offset, end).join("");
  }

  until(i) { // the prompt and the text, up to a token and with it
    const end = i + 1 < this.tokens.length ? this.tokens[i + 1].offset : this.points.length;
    return this.prompt + this.points.slice(0, end).join("");
  }

  index(span) {
    return this.tokens.findIndex((token) => token.span === span);
  }
}

function told(logProb) {
  if (logProb <= facts.lowest) return "impossible";
  return `${(-logProb / Math.LN2).toFixed(2)} bits, ${share(Math.exp(logProb))}`;
}

async function write() {
  if (!$("form").reportValidity()) return;
  const models = chosen();
  if (!models.length) { say("Choose a model.", true); return; }
  if (writing) writing.abort();
  const own = writing = new AbortController();
  const prompt = $("prompt").value;
  const texts = models.map((model) => new Text(model, prompt));
  $("texts").replaceChildren(...texts.map((text) => text.column));
  for (const text of texts) watch(text);
  $("stop").disabled = false;
  $("details").textContent = "";
  say("Writing…");
  const began = performance.now();
  await Promise.all(texts.map((text, i) => stream(models[i], prompt, text, own.signal)));
  if (own !== writing) return;
  $("stop").disabled = true;
  const count = texts.reduce((sum, text) => sum + text.tokens.length, 0);
  const took = ((performance.now() - began) / 1000).toFixed(1);
  say(own.signal.aborted ? "Stopped." : `${count} tokens in ${took} s.`);
}

async function stream(model, prompt, text, signal) {
  const body = { model, prompt, ...settings(), logprobs: 0, stream: true };
  try {
    let reason = "";
    for await (const chunk of events(await post(body, signal))) {
      for (const choice of chunk.choices) {
        text.add(choice);
        reason = choice.finish_reason || reason;
      }
    }
    const bits = text.tokens.reduce((sum, token) => sum - token.logProb, 0) / Math.LN2;
    const mean = (bits / Math.max(1, text.tokens.length)).toFixed(2);
    text.note.textContent = `${text.tokens.length} tokens, ${mean} bits each on average`
      + (reason === "stop" ? "; the text ends here" : "");
  } catch (error) {
    if (error.name === "AbortError") return;
    text.note.textContent = visible(error.message);
    text.note.classList.add("bad");
  }
}

function watch(text) {
  const goTo = (i) => {
    const { span } = text.tokens[i];
    for (const token of text.tokens) token.span.tabIndex = -1;
    span.tabIndex = 0;
    span.focus();
  };
  const details = (event) => {
    const i = text.index(event.target.closest(".t"));
    if (i < 0) return;
    const { name, logProb } = text.tokens[i];
    $("details").textContent = `${spelled(name)}  ${told(logProb)}`;
  };
  const goOn = (event) => {
    const i = text.index(event.target.closest(".t"));
    if (i < 0) return;
    $("prompt").value = text.until(i);
    write();
    askSoon();
  };
  text.body.addEventListener("focusin", details);
  text.body.addEventListener("pointerover", details);
  text.body.addEventListener("click", goOn);
  text.body.addEventListener("keydown", (event) => {
    const i = text.index(event.target);
    const last = text.tokens.length - 1;
    const places = { ArrowRight: i + 1, ArrowDown: i + 10, ArrowLeft: i - 1, ArrowUp: i - 10,
      Home: 0, End: last };
    if (event.key in places && i >= 0) {
      goTo(Math.min(last, Math.max(0, places[event.key])));
      event.preventDefault();
    } else if ((event.key === "Enter" && !event.ctrlKey) || event.key === " ") {
      goOn(event);
      event.preventDefault();
    }
  });
}

/* Commands to copy. */

function quoted(text) { // for a shell
  return /^[\w./:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function asCommands() {
  const prompt = $("prompt").value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
  const options = Object.entries(settings())
    .filter(([name, value]) => value !== facts.defaults[name])
    .map(([name, value]) => ` ${OPTIONS[name]} ${value}`).join("");
  return chosen().map((model) => `lm sample ${quoted(model)}${options} -- ${quoted(prompt)}`);
}

function asCurl() {
  const key = facts.needs_key ? ' -H "Authorization: Bearer $LM_API_KEY"' : "";
  const given = Object.entries(settings()).filter(([name, value]) => value !== facts.defaults[name]);
  return chosen().map((model) => {
    const body = JSON.stringify({ model, prompt: $("prompt").value, ...Object.fromEntries(given) });
    return `curl ${location.origin}/v1/completions${key} -H 'Content-Type: application/json' -d ${quoted(body)}`;
  });
}

async function copy(lines) {
  const text = lines.join("\n");
  $("copied").hidden = false;
  $("copied").textContent = text;
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("Copy the command from the box."); // a browser lets pages of other machines copy nothing
  }
}

/* What a person does. */

for (const slider of document.querySelectorAll("input[type=range]")) {
  const shown = document.querySelector(`output[for=${slider.id}]`);
  const show = () => {
    shown.textContent = slider.id === "top_k" && slider.value === "0" ? "all" : slider.value;
  };
  slider.addEventListener("input", show);
  show();
}
$("form").addEventListener("submit", (event) => { event.preventDefault(); write(); });
$("another").addEventListener("click", () => { $("seed").value = Number($("seed").value) + 1; write(); });
$("stop").addEventListener("click", () => writing && writing.abort());
$("as-command").addEventListener("click", () => copy(asCommands()));
$("as-curl").addEventListener("click", () => copy(asCurl()));
$("prompt").addEventListener("input", askSoon);
$("models").addEventListener("change", askSoon);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); write(); }
  if (event.key === "Escape" && writing) writing.abort();
});
ask();
