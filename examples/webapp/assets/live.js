// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Keeps a page up to date: asks every two seconds whether what it shows has
// changed, and if so takes over the new content. Without a script, Reload does
// the same.
"use strict";

const main = document.getElementById("main");
const news = document.getElementById("news");

// What a screen reader is told, when it changes.
const state = () => main.querySelector("[data-news]")?.textContent.trim() ?? "";

async function look() {
  const answer = await fetch(location.href, { headers: { "If-None-Match": main.dataset.version }, redirect: "manual" });
  if (answer.type === "opaqueredirect") {
    location.reload(); // signed out
    return;
  }
  if (answer.status !== 200) {
    return; // unchanged, or trouble that passes
  }
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
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
    // The app does not answer: the next look may find it.
  }
  setTimeout(watch, 2000);
}

setTimeout(watch, 2000);

// A page that Back brings out of the browser's memory is an old one.
addEventListener("pageshow", (event) => {
  if (event.persisted) {
    look().catch(() => {});
  }
});
