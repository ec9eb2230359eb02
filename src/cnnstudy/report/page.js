// Mark the current section in the contents, and open the folded parts around a link's target.
const links = [...document.querySelectorAll("nav a")];
const mark = () => {
  const passed = links.filter(a => document.querySelector(a.hash).getBoundingClientRect().top < innerHeight / 4);
  const now = passed.length ? passed[passed.length - 1] : links[0];
  if (now.hasAttribute("aria-current")) return;
  links.forEach(a => a.removeAttribute("aria-current"));
  now.setAttribute("aria-current", "true");
  const list = now.closest("nav");
  if (list.scrollWidth > list.clientWidth) list.scrollLeft = now.offsetLeft - 16;
};
const reveal = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  target.scrollIntoView();
};
addEventListener("scroll", mark, { passive: true });
addEventListener("hashchange", reveal);
addEventListener("load", () => { reveal(); mark(); });
