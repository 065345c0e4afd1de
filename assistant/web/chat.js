// The one script of the page: saves the conversation, which the server keeps ready in a hidden text box, as a file.
document.addEventListener("click", (event) => {
  if (!event.target.closest("#download")) return;
  const text = document.querySelector("#download-text textarea, #download-text input")?.value;
  if (!text) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/markdown" }));
  link.download = "conversation.md";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
