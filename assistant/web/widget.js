// The chat bubble: one line on any page. It makes no request before it is opened, and draws inside a shadow root. The
// element <groundwork-chat> shows the same chat in the page itself, as soon as it is there.
(() => {
  "use strict";
  const script = document.currentScript;
  if (!script || window.Groundwork) return;
  const options = script.dataset;
  const base = new URL(".", script.src);
  const right = options.position !== "left";
  const title = options.title || "Ask the documents";
  const colour = CSS.supports("color", options.colour || "") ? options.colour : "#1d4ed8";
  const address = (chosen) => {
    const url = new URL("embed", base);
    for (const name of ["theme", "title", "greeting", "questions", "language", "ask"])
      if (chosen[name]) url.searchParams.set(name, chosen[name]);
    return url.href;
  };
  const listeners = {};
  let frame, ready, waiting = [];

  // !important in a shadow root wins over whatever the page says of its elements
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { all: initial !important; display: block !important; position: fixed !important; z-index: 2147483647 !important;
      bottom: 20px !important; ${right ? "right" : "left"}: 20px !important; direction: ltr !important; }
    button { all: initial; display: grid; place-items: center; width: 56px; height: 56px; border-radius: 50%;
      background: ${colour}; cursor: pointer; box-shadow: 0 4px 16px #0004; }
    button:focus-visible { outline: 3px solid #fff; box-shadow: 0 0 0 6px ${colour}; }
    svg { width: 26px; height: 26px; fill: none; stroke: #fff; stroke-width: 2; stroke-linejoin: round; }
    section { position: fixed; bottom: 88px; ${right ? "right" : "left"}: 20px; width: 400px; height: min(640px, 100vh - 110px);
      border-radius: 14px; overflow: hidden; background: Canvas; box-shadow: 0 8px 40px #0005; }
    section[hidden] { display: none; }
    iframe { width: 100%; height: 100%; border: 0; }
    [role=status] { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
    @media (max-width: 640px) { section { inset: 0; width: 100%; height: 100%; border-radius: 0; } }`);

  const host = document.createElement("div");
  const root = host.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [sheet];
  const make = (tag, attributes, parent = root) => {
    const element = document.createElement(tag);
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    return parent.appendChild(element);
  };
  const panel = make("section", { id: "panel", hidden: "", "aria-label": title });
  const button = make("button", { type: "button", "aria-expanded": "false", "aria-controls": "panel", "aria-label": title });
  const status = make("div", { role: "status" });
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("viewBox", "0 0 24 24");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(icon.namespaceURI, "path");
  path.setAttribute("d", "M4 5h16v11H10l-5 4v-4H4z");
  icon.append(path);
  button.append(icon);

  const emit = (name, detail) => (listeners[name] || []).forEach((listener) => listener(detail));
  const send = (message) => {
    if (ready) frame.contentWindow.postMessage({ groundwork: 1, ...message }, base.origin);
    else waiting.push(message);
  };

  const open = () => {
    if (!frame) {
      frame = make("iframe", { src: address(options), title, referrerpolicy: "no-referrer" }, panel);
      frame.addEventListener("load", () => frame.contentWindow.postMessage({ groundwork: 1, type: "hello" }, base.origin));
    }
    if (!panel.hidden) return;
    panel.hidden = false;
    button.setAttribute("aria-expanded", "true");
    status.textContent = `${title}: opened`;
    frame.focus();
    send({ type: "focus" });
    emit("open");
  };

  const close = () => {
    if (panel.hidden) return;
    panel.hidden = true;
    button.setAttribute("aria-expanded", "false");
    status.textContent = `${title}: closed`;
    button.focus();
    emit("close");
  };

  button.addEventListener("click", () => (panel.hidden ? open() : close()));
  root.addEventListener("keydown", (event) => event.key === "Escape" && close());
  window.addEventListener("message", ({ source, origin, data }) => {
    if (!frame || source !== frame.contentWindow || origin !== base.origin || !data || data.groundwork !== 1) return;
    if (data.type === "ready") {
      ready = true;
      waiting.splice(0).forEach(send);
      emit("ready");
    } else if (data.type === "close") close();
    else if (data.type === "answer") emit("answer", { question: data.question, answer: data.answer });
  });

  window.Groundwork = {
    open,
    close,
    ask(question) {
      open();
      send({ type: "ask", question: String(question) });
    },
    on(name, listener) {
      (listeners[name] = listeners[name] || []).push(listener);
    },
  };
  customElements.define("groundwork-chat", class extends HTMLElement {
    connectedCallback() {
      const inside = this.shadowRoot || this.attachShadow({ mode: "open" });
      const inline = new CSSStyleSheet();
      inline.replaceSync(`:host { display: block !important; height: 600px; }
        iframe { width: 100%; height: 100%; border: 0; }`);
      inside.adoptedStyleSheets = [inline];
      const shown = { src: address(this.dataset), title: this.dataset.title || title, referrerpolicy: "no-referrer" };
      if (!inside.firstChild) make("iframe", shown, inside);
    }
  });
  const begin = () => {
    if (options.bubble !== "none") document.body.append(host);
    if ("open" in options) open();
  };
  document.body ? begin() : document.addEventListener("DOMContentLoaded", begin);
})();
