"""Networks that neither timm nor torchvision has, each in the module of its name."""
