// What is wrong with the page on the screen, as lists of places by rule. One argument: the least
// contrast of text. Charts are left out: they have a sentence and a table beside them.
const contrastMin = arguments[0];
const root = document.documentElement;
const hidden = ".skip, .js-plotly-plot, details:not([open]) > :not(summary)";
const faults = { nameless: [], pale: [], headings: [], wide: [], outside: [] };

const seen = (element) => {
  if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
  for (let each = element; each; each = each.parentElement) {
    if (getComputedStyle(each).clipPath === "inset(50%)") return false;
  }
  return !element.closest(hidden);
};

const channels = (colour) => {
  const numbers = colour.match(/[0-9.]+/g).map(Number);
  return numbers.length < 4 ? [...numbers, 1] : numbers;
};

// Relative luminance and contrast as in WCAG 2.2.
const luminance = (colour) =>
  colour
    .slice(0, 3)
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);

const behind = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = channels(getComputedStyle(each).backgroundColor);
    if (colour[3] > 0.5) return colour;
  }
  return [255, 255, 255, 1];
};

const contrast = (element) => {
  const ink = luminance(channels(getComputedStyle(element).color));
  const paper = luminance(behind(element));
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
};

const nameOf = (element) => {
  const label = element.id && document.querySelector(`label[for="${element.id}"]`);
  const texts = [element.getAttribute("aria-label"), element.textContent, label?.textContent];
  return texts.find((each) => each && each.trim());
};

for (const element of document.querySelectorAll("a[href], button, input, summary, nav, table")) {
  if (seen(element) && !nameOf(element)) faults.nameless.push(element.outerHTML.slice(0, 120));
}
for (const element of document.querySelectorAll("body *")) {
  const ownText = [...element.childNodes].some(
    (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim(),
  );
  if (ownText && seen(element) && contrast(element) < contrastMin) {
    faults.pale.push(`${contrast(element).toFixed(2)} ${element.textContent.slice(0, 60)}`);
  }
}
const levels = [...document.querySelectorAll("h1, h2, h3")].map((each) => Number(each.tagName[1]));
if (levels[0] !== 1 || levels.filter((level) => level === 1).length !== 1) {
  faults.headings.push(levels.join());
}
if (root.scrollWidth > root.clientWidth) {
  faults.wide.push(`${root.scrollWidth} > ${root.clientWidth}`);
}
for (const element of document.querySelectorAll("#main *")) {
  if (seen(element) && element.getBoundingClientRect().right > root.clientWidth + 1) {
    faults.wide.push(element.outerHTML.slice(0, 120));
  }
}
for (const entry of performance.getEntriesByType("resource")) {
  if (!entry.name.startsWith(`${location.origin}/`)) faults.outside.push(entry.name);
}
return faults;
