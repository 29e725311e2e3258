// Comfort only: without this file every part of the page works, except inside Airflow's frame, which needs scripts itself.
"use strict";

// Airflow's UI keeps the choice of light or dark here; "system", or nothing, follows the browser.
const THEME_KEY = "theme";

function applyTheme() {
  let choice = null;
  try {
    choice = localStorage.getItem(THEME_KEY);
  } catch {
    // Storage may be closed to frames; the browser's preference stays.
  }
  if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
  else delete document.documentElement.dataset.theme;
}

applyTheme(); // before the first paint: this script stands in the head
window.addEventListener("storage", (event) => {
  if (event.key === THEME_KEY || event.key === null) applyTheme();
});

// Airflow shows the page in a sandboxed frame that may neither open windows nor leave itself. A link of the frame's
// parent may: it is of the same origin, and clicked because a person clicked.
function leave(address, isNewTab) {
  let owner = document;
  try {
    if (window.parent !== window) owner = window.parent.document;
  } catch {
    // Framed by somebody else: the link stays where it is.
  }
  const link = owner.createElement("a");
  link.href = new URL(address, document.baseURI).href;
  if (isNewTab) {
    link.target = "_blank";
    link.rel = "noopener";
  }
  owner.body.append(link);
  link.click();
  link.remove();
}

function onLeave(event) {
  const link = event.target.closest("a[data-leave]");
  if (!link || event.defaultPrevented) return;
  const isNewTab = link.dataset.leave === "new" || event.ctrlKey || event.metaKey || event.shiftKey;
  if (window.parent === window && !isNewTab) return;
  event.preventDefault();
  leave(link.href, isNewTab);
}

async function onCopy(event) {
  const button = event.currentTarget;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // No clipboard without HTTPS or permission: select it, so that the keyboard's own copy works.
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    source.focus();
    button.textContent = "Selected";
  }
}

function openRollBack(event) {
  const dialog = document.getElementById("roll-back-dialog");
  if (!dialog) return;
  event.preventDefault();
  const version = event.currentTarget.dataset.rollBack;
  dialog.querySelector("[data-version]").textContent = version;
  dialog.querySelector("input[name=version]").value = version;
  dialog.querySelector("[data-problem]").textContent = "";
  dialog.showModal(); // the browser keeps the focus inside, closes on Escape and gives the focus back
  dialog.querySelector("textarea").focus();
}

// A link that acts as a button answers to the space bar as well.
function pressWithSpace(event) {
  if (event.key !== " ") return;
  event.preventDefault();
  event.currentTarget.click();
}

async function sendRollBack(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const problem = form.querySelector("[data-problem]");
  const button = form.querySelector("button[type=submit]");
  problem.textContent = "";
  button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "application/json" },
    });
    const body = await answer.json();
    if (answer.ok) leave(body.url, false);
    else problem.textContent = body.detail;
  } catch {
    problem.textContent = "Airflow did not answer. Look at the DAG's runs before you try again.";
  } finally {
    button.disabled = false;
  }
}

document.addEventListener("DOMContentLoaded", () => {
  document.addEventListener("click", onLeave);
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", onCopy);
  }
  for (const link of document.querySelectorAll("[data-roll-back]")) {
    link.addEventListener("click", openRollBack);
    link.addEventListener("keydown", pressWithSpace);
  }
  for (const form of document.querySelectorAll("[data-roll-back-form]")) form.addEventListener("submit", sendRollBack);
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  for (const form of document.querySelectorAll("[data-filter]")) {
    form.querySelector("select").addEventListener("change", () => form.requestSubmit());
  }
  // Something was too slow for this page, and may be there by now. Not while somebody is writing.
  if (document.querySelector("[data-pending]")) {
    setTimeout(() => document.querySelector("dialog[open]") || location.reload(), 4000);
  }
});
