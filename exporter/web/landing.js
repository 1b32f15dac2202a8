// The page is whole without this script. It makes a fresh page appear when
// something happens to a node, and while somebody types a filter.
(() => {
  const form = document.querySelector(".filter");
  const live = document.getElementById("live");
  let wanted = null, last = 0, asked = 0;
  let pause = 1000; // ms between two looks at the server

  async function refresh() {
    wanted = null;
    last = Date.now();
    const number = ++asked;
    let text;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      text = await answer.text();
      pause = Math.max(1000, 10 * (Date.now() - last)); // a large fleet is not asked without end
    } catch {
      return; // the stream tells that the exporter is away
    }
    if (number !== asked) return; // a later question is under way
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("list");
    const old = document.getElementById("list");
    if (!fresh || fresh.innerHTML === old.innerHTML) return;
    const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.replaceChildren(...fresh.childNodes);
    if (focused) [...old.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus();
  }

  function soon(delay) {
    if (wanted !== null) clearTimeout(wanted);
    wanted = setTimeout(refresh, delay);
  }
  // Many events make one refresh, and none is put off for ever.
  const changed = () => { if (wanted === null) soon(Math.max(100, last + pause - Date.now())); };

  function filter() {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) query.set(name, value);
    history.replaceState(null, "", "?" + query);
    soon(150);
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", (e) => { e.preventDefault(); filter(); });
  form.querySelector("button").hidden = true;

  let events = null;
  function listen() {
    if (document.hidden) { // a tab that nobody sees needs no stream
      events?.close();
      events = null;
      return;
    }
    if (events) return;
    events = new EventSource("api/v1/events");
    events.onopen = () => { live.textContent = "Live"; live.className = "live on"; changed(); };
    events.onerror = () => { live.textContent = "Not connected; trying again"; live.className = "live"; };
    for (const type of ["node.added", "node.removed", "node.state", "reset"]) events.addEventListener(type, changed);
    live.hidden = false;
  }
  document.addEventListener("visibilitychange", listen);
  setInterval(() => { if (!document.hidden) changed(); }, 30000); // "since" gets older
  listen();
})();
