// The compact chat: asks /embed/ask and shows sentence by sentence. It needs no browser storage.
"use strict";
const log = document.getElementById("log");
const form = document.querySelector("form");
const field = document.querySelector("textarea");
const button = document.querySelector("form button");
const closer = document.getElementById("close");
const given = new URLSearchParams(location.search);
const turns = [];
let running = null;
let host = null;

const make = (parent, tag, className = "", text = "") => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  parent.append(element);
  return element;
};

const tell = (message) => host && parent.postMessage({ groundwork: 1, ...message }, host);

// "[1]" becomes a link to the passage, everything else stays text
const withLinks = (element, text, citations) => {
  element.textContent = "";
  for (const part of text.split(/(\[\d+\])/)) {
    const citation = /^\[\d+\]$/.test(part) && citations.find((one) => `[${one.number}]` === part);
    if (!citation) element.append(part);
    else Object.assign(make(element, "a", "mark", part), link(citation));
  }
};

const link = (citation) => ({ href: citation.address, target: "_blank", rel: "noopener", title: citation.title });

const sources = (parent, citations) => {
  const drawer = make(parent, "details");
  make(drawer, "summary", "", citations.length === 1 ? "1 source" : `${citations.length} sources`);
  for (const citation of citations) {
    const card = make(drawer, "article");
    make(card, "h2", "", `[${citation.number}] ${citation.title}`);
    make(card, "blockquote", "", citation.quote);
    Object.assign(make(card, "a", "", "Open the document here"), link(citation));
  }
};

const starters = (parent, questions) => {
  for (const question of questions) make(parent, "button", "starter", question).type = "button";
};

const events = async function* (response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) if (part.startsWith("data: {")) yield JSON.parse(part.slice(6));
  }
};

const ask = async (question) => {
  if (running || !question.trim()) return;
  document.getElementById("start").hidden = true;
  make(log, "p", "question", question);
  const answer = make(log, "div", "answer");
  const words = make(answer, "p", "", "Looking in the documents …");
  words.classList.add("waiting");
  answer.scrollIntoView({ block: "nearest" });
  turns.push({ role: "user", content: question });
  running = new AbortController();
  button.textContent = "Stop";
  // it is read out once, when it is complete
  log.setAttribute("aria-busy", "true");
  let text = "", citations = [], next = [];
  try {
    const response = await fetch("embed/ask", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ messages: turns, stream: true }),
      signal: running.signal,
    });
    if (!response.ok) throw new Error((await response.json()).error.message);
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      text += event.choices[0].delta.content || "";
      citations = event.choices[0].finish_reason ? event.citations : citations.concat(event.citations || []);
      next = event.suggestions || next;
      if (!text) continue;
      words.classList.remove("waiting");
      withLinks(words, text, citations);
      answer.scrollIntoView({ block: "nearest" });
    }
  } catch (error) {
    withLinks(words, error.name === "AbortError" ? text || "Stopped." : `${text} ${error.message}`.trim(), citations);
    words.classList.remove("waiting");
  }
  if (citations.length) sources(answer, citations);
  starters(answer, next);
  log.removeAttribute("aria-busy");
  turns.push({ role: "assistant", content: text.replace(/ ?\[\d+\]/g, "") });
  running = null;
  button.textContent = "Ask";
  tell({ type: "answer", question, answer: text });
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return running.abort();
  ask(field.value);
  field.value = "";
});
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!running) form.requestSubmit();
});
closer.addEventListener("click", () => tell({ type: "close" }));
addEventListener("keydown", (event) => event.key === "Escape" && tell({ type: "close" }));
addEventListener("message", ({ source, origin, data }) => {
  if (source !== parent || parent === window || !data || data.groundwork !== 1) return;
  if (data.type === "hello") {
    host = origin;
    closer.hidden = false;
    tell({ type: "ready" });
  } else if (origin !== host) return;
  else if (data.type === "focus") field.focus();
  else if (data.type === "ask") ask(String(data.question));
});

const theme = given.get("theme");
if (theme === "light" || theme === "dark") document.documentElement.style.colorScheme = theme;
if (given.get("language")) document.documentElement.lang = given.get("language");
if (given.get("title")) document.querySelector("h1").textContent = given.get("title");
if (given.get("greeting")) document.getElementById("greeting").textContent = given.get("greeting");
if (given.get("questions")) {
  document.getElementById("starters").textContent = "";
  starters(document.getElementById("starters"), given.get("questions").split("|").map((question) => question.trim()));
}
document.querySelector("main").addEventListener("click", ({ target }) => target.matches(".starter") && ask(target.textContent));
if (given.get("ask")) ask(given.get("ask"));
