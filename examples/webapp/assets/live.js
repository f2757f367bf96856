// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Keeps a page up to date: checks every two seconds whether it has changed, and if so
// shows the new content. Without a script, Reload does the same.
"use strict";

const main = document.getElementById("main");
const news = document.getElementById("news");

// What a screen reader announces when it changes.
const state = () => main.querySelector("[data-news]")?.textContent.trim() ?? "";

async function look() {
  const response = await fetch(location.href, { headers: { "If-None-Match": main.dataset.version }, redirect: "manual" });
  if (response.type === "opaqueredirect") {
    location.reload(); // signed out
    return;
  }
  if (response.status !== 200) {
    return; // unchanged, or a failure that may pass
  }
  const next = new DOMParser().parseFromString(await response.text(), "text/html");
  const content = next.getElementById("main");
  const focused = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const before = state();
  main.replaceChildren(...content.childNodes);
  main.dataset.version = content.dataset.version;
  document.title = next.title;
  if (focused !== null) {
    // Whoever was on a link stays on it, or at the content's beginning.
    (main.querySelector(`a[href="${CSS.escape(focused)}"]`) ?? main).focus({ preventScroll: true });
  }
  if (state() !== before) {
    news.textContent = state();
  }
}

async function watch() {
  try {
    if (!document.hidden) {
      await look();
    }
  } catch {
    // The app is not reachable: try again.
  }
  setTimeout(watch, 2000);
}

setTimeout(watch, 2000);

// A page that Back restores from the browser's cache is out of date.
addEventListener("pageshow", (event) => {
  if (event.persisted) {
    look().catch(() => {});
  }
});
