"use strict";

const element = (id) => document.getElementById(id);
const form = element("form");
const tell = (text) => { element("told").textContent = text; };

// Out of the address bar and the history: from here on the token is only in this page's memory.
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

const setUp = async () => {
  const username = element("username").value;
  const password = element("password").value;
  if (password !== element("again").value) return tell("The two passwords differ.");
  tell("…");
  const answer = await fetch("/setup", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    credentials: "omit",
    body: JSON.stringify({ token, username, password }),
  });
  const said = await answer.json();
  if (answer.status !== 201) return tell(said.detail);
  form.remove();
  tell(`Done: ${username} is an admin. The next command logs in.`);
  element("next").textContent =
    `curl ${location.origin}/api/v1/auth/login -H 'Content-Type: application/json' \\\n` +
    `  -d '{"username": "${username}", "password": "…"}'`;
  element("next").hidden = false;
};

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await setUp();
  } catch {
    tell("The server did not answer. Try again.");
  } finally {
    button.disabled = false;
  }
});

if (token) {
  form.hidden = false;
} else {
  tell("This page is opened by a set-up link: `larder setup-link` prints one.");
}
