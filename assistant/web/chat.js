// The one script of the page: keeps the conversation in the reader's browser, and saves it as a file. The server has it
// ready in two hidden text boxes. It asks what a link or the address says (?ask=…), and mends what Gradio tells screen
// readers: its examples are buttons, and no list.
(() => {
  const KEY = "groundwork-conversation";
  const box = (id) => document.querySelector(`#${id} textarea, #${id} input`);
  // where a frame's storage is blocked, the conversation ends with the page
  const storage = (() => {
    try {
      return localStorage;
    } catch {
      return null;
    }
  })();
  const kept = storage?.getItem(KEY);
  // not before what was kept is back
  let isKept = !kept;

  const keep = () => {
    const text = box("kept")?.value;
    if (!isKept || !text) return;
    if (text === "[]") storage?.removeItem(KEY);
    else storage?.setItem(KEY, text);
  };
  const restore = (text) => {
    // filled by the server as soon as the page listens
    if (!box("kept")?.value) return setTimeout(restore, 50, text);
    box("kept").value = text;
    box("kept").dispatchEvent(new Event("input", { bubbles: true }));
    document.querySelector("#restore").click();
    isKept = true;
  };
  const ask = (question) => {
    const field = document.querySelector("#question textarea");
    const button = document.querySelector("#question .submit-button");
    if (!field || !button || !box("kept")?.value) return setTimeout(ask, 50, question);
    field.value = question;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    // the page takes the text over before it is sent, and empties the field when it is. An answer that just ended empties
    // it too, before the click; a page that just woke up does not hear the click: then once more.
    setTimeout(() => {
      if (field.value !== question) return ask(question);
      button.click();
      setTimeout(() => field.value === question && ask(question), 3000);
    }, 100);
  };
  const startOver = () => {
    isKept = false;
    storage?.removeItem(KEY);
    location.reload();
  };
  const download = (text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/markdown" }));
    link.download = "conversation.md";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  addEventListener("pagehide", keep);
  document.addEventListener("click", (event) => {
    const { target } = event;
    const link = target.closest("a[href^='?ask=']");
    if (link) {
      event.preventDefault();
      ask(new URLSearchParams(link.search).get("ask"));
    }
    if (target.closest("#start-over")) startOver();
    const text = target.closest("#download") && box("download-text")?.value;
    if (text) download(text);
  });
  new MutationObserver(() => {
    for (const list of document.querySelectorAll("#chat .examples[role=list]")) list.setAttribute("role", "group");
  }).observe(document, { childList: true, subtree: true });
  if (kept) restore(kept);
  const address = new URL(location);
  const asked = address.searchParams.get("ask");
  if (asked) {
    address.searchParams.delete("ask");
    history.replaceState(null, "", address);
    const askBehind = () => (kept && !document.querySelector("#chat .message") ? setTimeout(askBehind, 50) : ask(asked));
    askBehind();
  }
})();
