// What is hard to read or to press on the page as it stands: a list of sentences.
() => {
  const faults = [];
  const top = document.querySelector("dialog[open]") ?? document.body;
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (front, back) => {
    const mix = (x, y) => x * front.a + y * (1 - front.a);
    return { r: mix(front.r, back.r), g: mix(front.g, back.g), b: mix(front.b, back.b), a: 1 };
  };
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.a) layers.push(color);
      if (color.a === 1) break;
    }
    return layers.reduceRight((back, front) => over(front, back), { r: 255, g: 255, b: 255, a: 1 });
  };
  const light = ({ r, g, b }) => {
    const part = (value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const isSeen = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    !element.closest(".sr, .skip, [hidden], template") &&
    element.getBoundingClientRect().width > 1;

  const walker = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !isSeen(element)) continue;
    const style = getComputedStyle(element);
    const back = ground(element);
    const front = over(parse(style.color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(2)}: ${text.slice(0, 40)}`);
  }
  for (const element of top.querySelectorAll("button, summary, a.btn, a.quiet, input:not([type=hidden], [type=checkbox])")) {
    if (!isSeen(element) || element.closest(".practice")) continue;
    const box = element.getBoundingClientRect();
    const reach = getComputedStyle(element, "::after");
    const extra = reach.content === "none" ? 0 : -2 * parseFloat(reach.top || "0");
    const height = getComputedStyle(element).display === "contents" ? 52 : box.height + extra;
    if (height < 51.5) faults.push(`${height.toFixed(0)} px high: ${element.innerText || element.id}`);
    if (top !== document.body && element.scrollWidth > element.clientWidth + 1) {
      faults.push(`text runs out: ${element.innerText}`);
    }
  }
  const page = document.documentElement;
  if (page.scrollWidth > page.clientWidth) faults.push(`the page is ${page.scrollWidth} px wide`);
  const sheet = document.querySelector("dialog[open]");
  if (sheet && sheet.scrollWidth > sheet.clientWidth) faults.push("the sheet scrolls sideways");
  return faults;
};
