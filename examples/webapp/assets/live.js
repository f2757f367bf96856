// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Keeps a page up to date: asks every two seconds whether it has changed, and if so
// changes what is different and nothing else, so that a selection, the focus and the
// place on the page stay. Without a script, Reload does the same.
"use strict";

const main = document.getElementById("main");
const news = document.getElementById("news");
document.documentElement.classList.add("script");

// What a screen reader announces when it changes.
const state = () => main.querySelector("[data-news]")?.textContent.trim() ?? "";

const keyOf = (node) => node.id || node.dataset?.key || "";
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

// patch makes old like next.
function patch(old, next) {
  if (old.isEqualNode(next)) {
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    old.data = next.data;
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    return;
  }
  // Whether details are open is for whoever reads them to say.
  const theirs = (name) => name === "open" && old.nodeName === "DETAILS";
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !theirs(name)) {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value && !theirs(name)) {
      old.setAttribute(name, value);
    }
  }
  patchChildren(old, next);
}

// patchChildren keeps each child that has a counterpart: by its key if it has one, and
// otherwise by its place.
function patchChildren(old, next) {
  const wanted = new Set([...next.children].map(keyOf));
  for (const child of [...old.children]) {
    if (keyOf(child) && !wanted.has(keyOf(child))) {
      child.remove();
    }
  }
  const keyed = new Map([...old.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let at = old.firstChild;
  for (const child of [...next.childNodes]) {
    const mine = keyed.get(keyOf(child)) ?? at;
    if (!mine || !alike(mine, child)) {
      old.insertBefore(child, at);
      continue;
    }
    if (mine !== at) {
      old.insertBefore(mine, at);
    } else {
      at = at.nextSibling;
    }
    patch(mine, child);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

async function look() {
  const response = await fetch(location.href, { headers: { "If-None-Match": main.dataset.version }, redirect: "manual" });
  if (response.type === "opaqueredirect") {
    location.reload(); // signed out
    return;
  }
  if (response.status !== 200) {
    return; // unchanged, or a failure that may pass
  }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const focused = document.activeElement;
  const before = state();
  // What is at the top of the window stays there.
  const anchor = [...main.querySelectorAll("h2, [id], [data-key]")].find((e) => e.getBoundingClientRect().bottom > 0);
  const top = anchor?.getBoundingClientRect().top;
  patch(main, page.getElementById("main"));
  if (scrollY > 0 && anchor?.isConnected) {
    scrollBy({ top: anchor.getBoundingClientRect().top - top, behavior: "instant" });
  }
  document.title = page.title;
  if (focused !== document.activeElement) {
    // It was moved, or it is gone: then go to the content's beginning.
    (focused.isConnected ? focused : main).focus({ preventScroll: true });
  }
  if (state() !== before) {
    news.textContent = state();
  }
}

const pause = "seldom" in main.dataset ? 15000 : 2000;

async function watch() {
  try {
    if (!document.hidden) {
      await look();
    }
  } catch {
    // The app is not reachable: try again.
  }
  setTimeout(watch, pause);
}

setTimeout(watch, pause);

// A page that Back restores from the browser's cache is out of date.
addEventListener("pageshow", (event) => {
  if (event.persisted) {
    look().catch(() => {});
  }
});

// The words of a time, as pages.go has them.
function ago(then) {
  const past = Date.now() - then;
  const minutes = Math.round(Math.abs(past) / 60000);
  let [n, unit] = [minutes, "minute"];
  if (minutes < 1) {
    return "just now";
  } else if (minutes >= 48 * 60) {
    [n, unit] = [Math.floor(minutes / (24 * 60)), "day"];
  } else if (minutes >= 90) {
    [n, unit] = [Math.floor((minutes + 30) / 60), "hour"];
  }
  const words = `${n} ${unit}${n === 1 ? "" : "s"}`;
  return past < 0 ? `in ${words}` : `${words} ago`;
}

setInterval(() => {
  for (const time of main.querySelectorAll("time:not([data-exact])")) {
    const words = ago(Date.parse(time.dateTime));
    if (time.textContent !== words) {
      time.firstChild.data = words;
    }
  }
}, 10000);

main.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) {
    return;
  }
  const input = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(input.value);
    news.textContent = "Copied";
    button.textContent = "Copied";
  } catch {
    input.select(); // for the keyboard
  }
});
