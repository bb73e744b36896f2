// The few ways in which this page writes to the document. An event's text is only ever the text of
// an element or of an attribute: there is no other way here to put it on the page.

/// What was done so far: a user may look, and a test does.
export const work = { messages: 0, batches: 0, writes: 0 };

export const at = id => document.getElementById(id);

/// Adds an element to a parent.
export function make(parent, tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  parent.append(made);
  work.writes += 1;
  return made;
}

/// Sets the text of an element that holds nothing else, if it is another one.
export function put(element, text) {
  if (element.shown === text) return;
  element.shown = text;
  element.textContent = text;
  work.writes += 1;
}

/// Sets an attribute, if it has another value; null removes it.
export function set(element, name, value) {
  const is = element.getAttribute(name);
  if (value === null ? is === null : is === String(value)) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
  work.writes += 1;
}

/// Sets a property of an element's own style, if it has another value.
export function style(element, name, value) {
  if (element.style.getPropertyValue(name) === value) return;
  element.style.setProperty(name, value);
  work.writes += 1;
}

const SVG = "http://www.w3.org/2000/svg";

/// Adds a picture, which `picture` chooses.
export function icon(parent, name = "icon") {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("class", name);
  made.setAttribute("aria-hidden", "true");
  made.append(document.createElementNS(SVG, "use"));
  parent.append(made);
  return made;
}

/// Shows the picture and the tone of a state.
export function picture(svg, { icon: name, tone }) {
  set(svg.firstChild, "href", `#i-${name}`);
  set(svg, "data-tone", tone);
}

/// Returns a function that has `draw` called once in the next animation frame, however often it is
/// called before: whatever comes meanwhile costs one layout.
export function eachFrame(draw) {
  let waits = false;
  return () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      work.batches += 1;
      draw(Date.now());
    });
  };
}
