// The connection to the feed. A browser reconnects by itself and says where it was, and the feed
// goes on from there. What is left to do is to begin anew where a browser gives up: at an answer
// that is no stream, such as a proxy's 502 while the host is restarted.

// Ten lines for any page; a host may copy them.
export function follow(url, on, last = "") {
  const position = `${url.includes("?") ? "&" : "?"}lastEventId=${encodeURIComponent(last)}`;
  const source = new EventSource(last ? url + position : url);
  for (const name of ["open", "message", "gap", "reset", "end", "error"])
    source.addEventListener(name, event => {
      last = event.lastEventId || last;
      on[name]?.(event.data && JSON.parse(event.data), source);
      if (source.readyState === EventSource.CLOSED) setTimeout(follow, 1000, url, on, last);
    });
}
// To here.
